//! Names: what is bound above, what a dot behind a name means, and what to say about a name that is nothing.

use super::{Checker, Wanted};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Body, ItemRef, Meaning, Segment, Typed};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::syntax::{Expr, Name, Node};

/// Names and overrides that are followed to see the labels of a record; behind them it is looked at when it is evaluated.
const MAX_OVERRIDES: usize = 64;

/// What a name is bound to.
pub(super) enum Target {
    /// A parameter of the `def` around it.
    Parameter(usize, Kind),
    /// An item of a file.
    Item(ItemRef),
}

impl Checker<'_> {
    /// What a name is bound to above this line, if it is.
    pub(super) fn bound(&self, name: &str) -> Option<Target> {
        if self.scope.words_only {
            return None;
        }
        if let Some(index) = self.scope.params.iter().position(|(param, _)| param.text == name) {
            return Some(Target::Parameter(index, self.scope.params[index].1.clone()));
        }
        let item = self.above(name)?;
        Some(Target::Item(ItemRef { file: self.scope.file, item }))
    }

    /// A bare name: a binding first, otherwise a word of the kind wanted, otherwise, for layers, a path.
    pub(super) fn name(&mut self, name: &str, span: Span, wanted: Wanted<'_>) -> Typed {
        if let Some(target) = self.bound(name) {
            return self.target(target, span, wanted);
        }
        match wanted.kind {
            Kind::Choice(names) if names.iter().any(|choice| choice == name) => {
                return Typed::new(span, wanted.kind.clone(), Meaning::Name(name.to_owned()));
            }
            Kind::Role => return Typed::new(span, Kind::Role, Meaning::Name(name.to_owned())),
            _ => {}
        }
        if self.has_word(name, wanted.kind, false) {
            return self.word_call(name, span, &[], span, wanted);
        }
        if *wanted.kind == Kind::Selector && !self.is_bound_below(name) {
            return Typed::new(span, Kind::Selector, Meaning::Path(vec![Segment::Name(name.to_owned())]));
        }
        self.unknown(name, span, wanted)
    }

    /// A value that a name is bound to.
    fn target(&mut self, target: Target, span: Span, wanted: Wanted<'_>) -> Typed {
        let at = match target {
            Target::Parameter(index, kind) => return Typed::new(span, kind, Meaning::Parameter(index)),
            Target::Item(at) => at,
        };
        self.uses(at);
        self.item_value(at, span, wanted)
    }

    fn item_value(&mut self, at: ItemRef, span: Span, wanted: Wanted<'_>) -> Typed {
        let Some(item) = self.item(at.file, at.item) else { return Typed::unknown(span) };
        let (kind, declared) = (item.kind.clone(), item.name.as_ref().map(|name| name.span));
        match &item.body {
            Body::Param { .. } | Body::Bind(_) => Typed::new(span, kind, Meaning::Item(at)),
            Body::Def { params, .. } => {
                let takes: Vec<Kind> = params.iter().map(|(_, kind)| kind.clone()).collect();
                if !matches!(wanted.kind, Kind::Function(..)) {
                    let name = self.sources.slice(span).to_owned();
                    let mut diagnostic =
                        Diagnostic::new(Code::WrongKind, span, format!("`{name}` is a `def`; {}", wanted.sentence()))
                            .help(format!("call it: `{name}(…)`"));
                    if let Some(declared) = declared {
                        diagnostic = diagnostic.also(declared, "declared here");
                    }
                    self.report(diagnostic);
                    return Typed::unknown(span);
                }
                Typed::new(span, Kind::Function(takes, Box::new(kind)), Meaning::Item(at))
            }
            Body::Import(file) => {
                // An import that could not be read was reported at its line.
                if file.is_some() {
                    let name = self.sources.slice(span).to_owned();
                    self.report(
                        Diagnostic::new(Code::WrongKind, span, format!("`{name}` is an import, not a value"))
                            .help(format!("use something that it binds: `{name}.…`")),
                    );
                }
                Typed::unknown(span)
            }
            Body::Require(..) | Body::Bare(_) | Body::Unreadable => Typed::unknown(span),
        }
    }

    /// `a.b.c`, `a.b[0..3]`: a member of an import, a part of a data set, a value of a record, or a path to layers.
    pub(super) fn dotted(&mut self, expr: &Expr, wanted: Wanted<'_>) -> Typed {
        let Some((base, path)) = flattened(expr) else {
            if let Node::Field(base, name) = &expr.node {
                let base = self.expr(base, Wanted::ANYTHING);
                return self.field(base, name, expr.span);
            }
            return self.not_indexable(expr.span);
        };
        if self.bound(&base.text).is_some() {
            return self.bound_path(expr, wanted);
        }
        if *wanted.kind == Kind::Role {
            return Typed::new(expr.span, Kind::Role, Meaning::Name(crate::recipe::path_text(&path)));
        }
        let indexed = path.iter().any(|segment| matches!(segment, Segment::Numbers(..)));
        if *wanted.kind == Kind::Selector || (indexed && *wanted.kind == Kind::Unknown) {
            return Typed::new(expr.span, Kind::Selector, Meaning::Path(path));
        }
        self.unknown(&base.text, base.span, Wanted::ANYTHING)
    }

    /// A dotted expression whose first name is bound.
    fn bound_path(&mut self, expr: &Expr, wanted: Wanted<'_>) -> Typed {
        let Node::Field(base, name) = &expr.node else { return self.not_indexable(expr.span) };
        if let Some(at) = self.member(base, name) {
            return at.map_or_else(|| Typed::unknown(expr.span), |at| self.item_value(at, expr.span, wanted));
        }
        let base = match &base.node {
            Node::Field(..) | Node::Index(..) => self.bound_path(base, Wanted::ANYTHING),
            _ => self.expr(base, Wanted::ANYTHING),
        };
        self.field(base, name, expr.span)
    }

    /// The item `base.name` where `base` is an import; the inner `None` after a report.
    pub(super) fn member(&mut self, base: &Expr, name: &Name) -> Option<Option<ItemRef>> {
        let Node::Name(import) = &base.node else { return None };
        let Some(Target::Item(at)) = self.bound(import) else { return None };
        let Some(Body::Import(file)) = self.item(at.file, at.item).map(|item| &item.body) else { return None };
        let file = *file;
        self.uses(at);
        let Some(file) = file else { return Some(None) };
        let names = &self.files.get(file)?.names;
        if let Some(item) = names.get(&name.text) {
            return Some(Some(ItemRef { file, item: *item }));
        }
        let all = names.keys().map(String::as_str);
        let diagnostic =
            Diagnostic::new(Code::UnknownField, name.span, format!("`{import}` binds nothing called `{}`", name.text))
                .maybe_help(did_you_mean(&name.text, all.clone()))
                .note(format!("it binds {}", listed(all)));
        self.report(diagnostic);
        Some(None)
    }

    fn field(&mut self, base: Typed, name: &Name, span: Span) -> Typed {
        let kind = match &base.kind {
            Kind::Dataset => Kind::Dataset,
            Kind::Record(element) => {
                let element = (**element).clone();
                return self.record_field(base, name, span, element);
            }
            Kind::Unknown => return Typed::unknown(span),
            other => {
                let message = format!("`.{}` is asked of {other}, which has no parts", name.text);
                self.report(
                    Diagnostic::new(Code::UnknownField, name.span, message).note("data sets, records and imports have parts"),
                );
                return Typed::unknown(span);
            }
        };
        Typed::new(span, kind, Meaning::Field(Box::new(base), name.clone()))
    }

    fn record_field(&mut self, base: Typed, name: &Name, span: Span, element: Kind) -> Typed {
        if let Some(fields) = self.fields_of(&base).filter(|fields| !fields.iter().any(|(field, _)| *field == name.text)) {
            let names = fields.iter().map(|(field, _)| field.as_str());
            let diagnostic = Diagnostic::new(Code::UnknownField, name.span, format!("the record has no `{}`", name.text))
                .maybe_help(did_you_mean(&name.text, names.clone()))
                .note(format!("it has {}", listed(names)));
            self.report(diagnostic);
            return Typed::unknown(span);
        }
        let kind = self.fields_of(&base).and_then(|fields| fields.into_iter().find(|(field, _)| *field == name.text));
        let kind = kind.map_or(element, |(_, kind)| kind);
        Typed::new(span, kind, Meaning::Field(Box::new(base), name.clone()))
    }

    /// The labels and kinds of a record, where they can be seen.
    pub(super) fn fields_of(&self, record: &Typed) -> Option<Vec<(String, Kind)>> {
        self.fields_within(record, MAX_OVERRIDES)
    }

    fn fields_within(&self, record: &Typed, steps: usize) -> Option<Vec<(String, Kind)>> {
        let steps = steps.checked_sub(1)?;
        match &record.meaning {
            Meaning::Record(fields) => {
                Some(fields.iter().map(|(label, value)| (label.text.clone(), value.kind.clone())).collect())
            }
            Meaning::Override(base, _) => self.fields_within(base, steps),
            Meaning::Item(at) => match &self.item(at.file, at.item)?.body {
                Body::Bind(value) => self.fields_within(value, steps),
                _ => None,
            },
            _ => None,
        }
    }

    fn not_indexable(&mut self, span: Span) -> Typed {
        self.report(
            Diagnostic::new(Code::WrongKind, span, "only paths to layers take `[…]`")
                .note("a path starts with the name of a module, such as `layers[0..3]`"),
        );
        Typed::unknown(span)
    }

    pub(super) fn is_bound_below(&self, name: &str) -> bool {
        !self.scope.words_only && self.scope.all.contains_key(name)
    }

    /// Reports a name that is neither bound nor a word of the kind wanted.
    pub(super) fn unknown(&mut self, name: &str, span: Span, wanted: Wanted<'_>) -> Typed {
        if self.diagnostics.is_full() {
            return Typed::unknown(span);
        }
        let diagnostic = if self.scope.def.as_deref() == Some(name) {
            Diagnostic::new(Code::RecursiveDef, span, format!("`{name}` uses itself"))
                .note("a `def` stands for its body, so it cannot contain itself")
                .help("repeat a step with a word that unrolls a list, or write the calls out")
        } else if let Some(bound) = self.scope.all.get(name).filter(|_| !self.scope.words_only) {
            Diagnostic::new(Code::UsedBeforeBound, span, format!("`{name}` is used before it is bound"))
                .also(*bound, "bound here")
                .help("move this line below that one")
        } else {
            self.no_such_word(name, span, wanted)
        };
        self.report(diagnostic);
        Typed::unknown(span)
    }

    /// The names that can be seen from here.
    pub(super) fn visible(&self) -> Vec<&str> {
        if self.scope.words_only {
            return Vec::new();
        }
        let params = self.scope.params.iter().map(|(name, _)| name.text.as_str());
        let names = self.files.get(self.scope.file).into_iter().flat_map(|file| file.names.keys().map(String::as_str));
        params.chain(names).collect()
    }
}

/// A path as its first name and all its segments, if the expression is one.
fn flattened(expr: &Expr) -> Option<(Name, Vec<Segment>)> {
    match &expr.node {
        Node::Name(name) => Some((Name { text: name.clone(), span: expr.span }, vec![Segment::Name(name.clone())])),
        Node::Field(base, name) => {
            let (first, mut path) = flattened(base)?;
            path.push(match name.text.parse() {
                Ok(number) => Segment::Numbers(number, number),
                Err(_) => Segment::Name(name.text.clone()),
            });
            Some((first, path))
        }
        Node::Index(base, from, to) => {
            let (first, mut path) = flattened(base)?;
            path.push(Segment::Numbers(*from, *to));
            Some((first, path))
        }
        _ => None,
    }
}

//! Statements: the edition, what binds a name, and what does not.

use std::collections::BTreeMap;

use super::{Checker, Wanted, arithmetic};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Body, File, Item, ItemRef, Meaning, Typed};
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::syntax::{Expr, KindName, Name, Node, Operator, Statement, StatementKind, Syntax, parse_value};

impl Checker<'_> {
    /// Checks a file and returns its edition. `import` is where it is imported, under which name.
    pub(super) fn file(&mut self, syntax: &Syntax, import: Option<Span>, alias: &str) -> u32 {
        self.scope.file = self.files.len();
        self.files.push(File { alias: alias.to_owned(), items: Vec::new(), names: BTreeMap::new() });
        for statement in &syntax.statements {
            if let Some(name) = bound_name(&statement.kind) {
                self.scope.all.entry(name.text.clone()).or_insert(name.span);
            }
        }
        let edition = self.edition(syntax, import);
        for statement in &syntax.statements {
            self.statement(statement, import);
        }
        edition
    }

    fn edition(&mut self, syntax: &Syntax, import: Option<Span>) -> u32 {
        let known = self.vocabulary.editions().iter().max().copied().unwrap_or_default();
        let help = format!("write `edition {known}` as the first line");
        let mut edition = None;
        for (i, statement) in syntax.statements.iter().enumerate() {
            let StatementKind::Edition(year) = statement.kind else { continue };
            if i > 0 {
                let message = if edition.is_some() { "the edition is named twice" } else { "the edition comes too late" };
                self.report(Diagnostic::new(Code::MissingEdition, statement.span, message).help(help.clone()));
            } else if !self.vocabulary.editions().contains(&year) {
                let message = format!("edition {year} is not known to this program");
                self.report(
                    Diagnostic::new(Code::UnknownEdition, statement.span, message).help(format!("write `edition {known}`")),
                );
            }
            edition = Some(year);
        }
        // A first line that cannot be read may have been meant as one.
        let unreadable = matches!(syntax.statements.first().map(|first| &first.kind), Some(StatementKind::Error(None)));
        if edition.is_none() && !unreadable {
            let start = Span::new(syntax.source, 0, 0);
            let mut diagnostic = Diagnostic::new(Code::MissingEdition, start, "this recipe does not say its edition").help(help);
            if let Some(import) = import {
                diagnostic = diagnostic.also(import, "imported here");
            }
            self.report(diagnostic);
        }
        edition.unwrap_or_default()
    }

    fn statement(&mut self, statement: &Statement, import: Option<Span>) {
        let (name, kind, body) = match &statement.kind {
            StatementKind::Edition(_) => return,
            StatementKind::Param { name, kind, range, default } => {
                let (kind, body) = self.param(name, kind, range.as_ref(), default);
                (Some(name), kind, body)
            }
            StatementKind::Import { path, name } => (Some(name), Kind::Unknown, Body::Import(self.import(path, &name.text))),
            StatementKind::Def { name, params, yields, body } => {
                let (kind, body) = self.def(name, params, yields, body);
                (Some(name), kind, body)
            }
            StatementKind::Bind { name, value } => {
                let value = self.expr(value, Wanted::ANYTHING);
                (Some(name), value.kind.clone(), Body::Bind(value))
            }
            StatementKind::Require(condition) => {
                self.ignored(import, statement.span, "this `require` is not judged");
                (None, Kind::Unknown, self.require(condition))
            }
            StatementKind::Bare(value) => {
                let value = self.expr(value, Wanted::ANYTHING);
                self.bare(&value, statement.span, import);
                (None, value.kind.clone(), Body::Bare(value))
            }
            StatementKind::Error(name) => (name.as_ref(), Kind::Unknown, Body::Unreadable),
        };
        self.bind(name, Item { name: name.cloned(), span: statement.span, doc: statement.doc.clone(), kind, body });
    }

    /// Adds an item; a name that is bound already stays what it was.
    fn bind(&mut self, name: Option<&Name>, item: Item) {
        let file = self.scope.file;
        let at = self.files[file].items.len();
        self.files[file].items.push(item);
        let Some(name) = name else { return };
        let Some(first) = self.files[file].names.get(&name.text).copied() else {
            self.files[file].names.insert(name.text.clone(), at);
            return;
        };
        self.scope.used.insert(at);
        let declared = self.item(file, first).and_then(|item| item.name.as_ref()).map(|name| name.span);
        self.already_bound(name, declared);
    }

    fn already_bound(&mut self, name: &Name, declared: Option<Span>) {
        let mut diagnostic = Diagnostic::new(Code::AlreadyBound, name.span, format!("`{}` is bound already", name.text))
            .help("choose another name; a name keeps its meaning to the end of the recipe");
        if let Some(declared) = declared {
            diagnostic = diagnostic.also(declared, "bound here");
        }
        self.report(diagnostic);
    }

    fn param(&mut self, name: &Name, kind: &KindName, range: Option<&Expr>, default: &Expr) -> (Kind, Body) {
        let kind = self.kind(kind);
        let wanted = Wanted { kind: &kind, place: &name.text };
        let default = self.expr(default, wanted);
        let bounds = range.and_then(|range| {
            let bounds = arithmetic::bounds(range, kind.element());
            if bounds.is_none() && kind != Kind::Unknown {
                self.report(
                    Diagnostic::new(Code::WrongUnit, range.span, format!("this is not a range of {kind}"))
                        .maybe_help(arithmetic::units_help(&kind)),
                );
            }
            bounds
        });
        let given = if self.scope.file == 0 { self.set_value(&name.text, &kind) } else { None };
        let is_set = given.is_some();
        let value = given.unwrap_or(default);
        (kind, Body::Param { value, bounds, is_set })
    }

    /// What was set from outside for a parameter; the last one counts.
    fn set_value(&mut self, name: &str, kind: &Kind) -> Option<Typed> {
        let (_, text) = self.sets.iter().rev().find(|(set, _)| set == name)?;
        let source = self.sources.add(format!("--set {name}"), text.as_str());
        let whole = Span::new(source, 0, self.sources.text(source).len());
        if matches!(kind, Kind::Text | Kind::InputPath | Kind::OutputPath) {
            // A shell has its own quotes; ours are taken off where somebody wrote them.
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            return Some(Typed::new(whole, Kind::Text, Meaning::Text(text.to_owned())));
        }
        let expr = parse_value(self.sources, source, &mut self.diagnostics);
        self.scope.words_only = true;
        let typed = expr.map_or_else(|| Typed::unknown(whole), |expr| self.expr(&expr, Wanted { kind, place: name }));
        self.scope.words_only = false;
        Some(typed)
    }

    fn def(&mut self, name: &Name, params: &[(Name, KindName)], yields: &KindName, body: &Expr) -> (Kind, Body) {
        let mut checked: Vec<(Name, Kind)> = Vec::new();
        for (param, kind) in params {
            let kind = self.kind(kind);
            let declared = match self.above(&param.text) {
                Some(item) => self.item(self.scope.file, item).and_then(|item| item.name.as_ref()).map(|name| name.span),
                None => checked.iter().find(|(other, _)| other.text == param.text).map(|(other, _)| other.span),
            };
            if declared.is_some() {
                self.already_bound(param, declared);
            }
            checked.push((param.clone(), kind));
        }
        let yields = self.kind(yields);
        self.scope.params = checked;
        self.scope.def = Some(name.text.clone());
        let body = self.expr(body, Wanted { kind: &yields, place: "" });
        self.scope.def = None;
        let params = std::mem::take(&mut self.scope.params);
        // `schedule` says nothing about what it is made of; the body does.
        let kind = if yields == Kind::schedule(Kind::Unknown) { body.kind.clone() } else { yields };
        (kind, Body::Def { params, body })
    }

    fn require(&mut self, condition: &Expr) -> Body {
        let Node::Binary(Operator::Compare(comparison), left, right) = &condition.node else {
            if !matches!(condition.node, Node::Error) {
                self.report(
                    Diagnostic::new(Code::NoComparison, condition.span, "a `require` compares two sides")
                        .help("write `<=`, `>=`, `<`, `>` or `==` and what it is compared with"),
                );
            }
            return Body::Unreadable;
        };
        self.scope.in_require = true;
        let (left, right) = (self.expr(left, Wanted::ANYTHING), self.expr(right, Wanted::ANYTHING));
        self.scope.in_require = false;
        self.comparable(&left, &right);
        Body::Require(left, *comparison, right)
    }

    fn bare(&mut self, value: &Typed, span: Span, import: Option<Span>) {
        if value.kind == Kind::Artifact {
            self.ignored(import, span, "this is not executed");
        } else if value.kind != Kind::Unknown {
            self.report(
                Diagnostic::new(Code::NoEffect, span, format!("this yields {}, and nothing can use it", value.kind))
                    .help("bind it to a name: `name = …`"),
            );
        }
    }

    fn ignored(&mut self, import: Option<Span>, span: Span, message: &str) {
        if let Some(import) = import {
            self.report(
                Diagnostic::new(Code::IgnoredInImport, span, format!("{message} in an imported recipe"))
                    .also(import, "imported here")
                    .help("move it to the recipe that imports this one"),
            );
        }
    }

    /// The kind that an annotation names.
    fn kind(&mut self, kind: &KindName) -> Kind {
        let name = match kind {
            KindName::Word(name) => name,
            KindName::List(inner) => return Kind::list(self.kind(inner)),
        };
        if let Some(kind) = Kind::named(&name.text) {
            return kind;
        }
        let vocabulary = self.vocabulary;
        let shelves = vocabulary.shelves();
        if let Some(shelf) = shelves.iter().find(|shelf| shelf.name() == name.text) {
            let shelf = (*shelf).clone();
            return if self.summable.contains(&shelf) { Kind::Weighted(shelf) } else { Kind::Method(shelf) };
        }
        let mut names: Vec<&str> = Kind::names().collect();
        names.extend(shelves.iter().map(|shelf| shelf.name()));
        let diagnostic = Diagnostic::new(Code::UnknownKind, name.span, format!("`{}` is not a kind", name.text))
            .maybe_help(did_you_mean(&name.text, names.iter().copied()))
            .note(format!("kinds: `{}`", names.join("`, `")));
        self.report(diagnostic);
        Kind::Unknown
    }

    /// Names of the recipe itself that nobody uses. Where something is wrong, the use may be what could not be read.
    pub(super) fn unused(&mut self) {
        if self.diagnostics.has_errors() || self.scope.file != 0 {
            return;
        }
        let Some(file) = self.files.first() else { return };
        let unused = file.items.iter().enumerate().filter(|(at, _)| !self.scope.used.contains(at)).filter_map(|(_, item)| {
            let name = item.name.as_ref()?;
            let what = match &item.body {
                Body::Param { .. } => "parameter",
                Body::Import(_) => "import",
                Body::Def { .. } => "`def`",
                Body::Bind(_) if item.kind != Kind::Artifact => "binding",
                _ => return None,
            };
            let help = match (&item.body, &item.kind) {
                (Body::Bind(_), Kind::Model | Kind::Dataset) => "use it, or remove the line and save its work",
                _ => "use it, or remove the line",
            };
            Some(Diagnostic::new(Code::Unused, name.span, format!("nothing uses the {what} `{}`", name.text)).help(help))
        });
        unused.collect::<Vec<_>>().into_iter().for_each(|diagnostic| self.diagnostics.push(diagnostic));
    }

    /// Marks an item of the file being checked as used.
    pub(super) fn uses(&mut self, at: ItemRef) {
        if at.file == self.scope.file {
            self.scope.used.insert(at.item);
        }
    }
}

fn bound_name(kind: &StatementKind) -> Option<&Name> {
    match kind {
        StatementKind::Param { name, .. }
        | StatementKind::Import { name, .. }
        | StatementKind::Def { name, .. }
        | StatementKind::Bind { name, .. } => Some(name),
        StatementKind::Error(name) => name.as_ref(),
        StatementKind::Edition(_) | StatementKind::Require(_) | StatementKind::Bare(_) => None,
    }
}

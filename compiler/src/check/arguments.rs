//! Which argument goes to which parameter, for words, `def`s and records alike.

use super::{Checker, Wanted};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Body, ItemRef, Meaning, Typed};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::syntax::{Argument, Expr, Name, Node};
use crate::vocabulary::{Presence, Word};

/// A parameter as far as a call cares.
struct Slot<'p> {
    name: &'p str,
    positional: bool,
    required: bool,
}

/// Argument of each parameter of a word, and of `for:`.
type Given<'e> = (Vec<Option<&'e Expr>>, Option<&'e Expr>);

impl Checker<'_> {
    /// `callee(arguments)`.
    pub(super) fn call(&mut self, callee: &Expr, arguments: &[Argument], span: Span, wanted: Wanted<'_>) -> Typed {
        let item = match &callee.node {
            Node::Name(name) => match self.bound(name) {
                Some(super::names::Target::Item(at)) => {
                    self.uses(at);
                    Some(at)
                }
                Some(super::names::Target::Parameter(..)) => None,
                None if self.has_word(name, wanted.kind, true) || !self.is_bound_below(name) => {
                    return self.word_call(name, callee.span, arguments, span, wanted);
                }
                None => return self.unknown(name, callee.span, wanted),
            },
            Node::Field(base, name) => match self.member(base, name) {
                Some(None) => return Typed::unknown(span),
                Some(Some(at)) => Some(at),
                None => None,
            },
            Node::Error => return Typed::unknown(span),
            _ => None,
        };
        if let Some(at) = item
            && let Some(Body::Def { .. }) = self.item(at.file, at.item).map(|item| &item.body)
        {
            return self.apply(at, callee.span, arguments, span);
        }
        let base = self.expr(callee, Wanted::ANYTHING);
        match &base.kind {
            Kind::Unknown => Typed::unknown(span),
            Kind::Record(_) => self.overridden(base, arguments, span),
            kind => {
                let message = format!("this is {kind} and takes no arguments");
                self.report(Diagnostic::new(Code::TooManyArguments, callee.span, message));
                Typed::unknown(span)
            }
        }
    }

    /// A call of a `def`.
    fn apply(&mut self, at: ItemRef, callee: Span, arguments: &[Argument], span: Span) -> Typed {
        let Some(item) = self.item(at.file, at.item) else { return Typed::unknown(span) };
        let Body::Def { params, .. } = &item.body else { return Typed::unknown(span) };
        let (kind, params) = (item.kind.clone(), params.clone());
        let slots: Vec<Slot<'_>> =
            params.iter().map(|(name, _)| Slot { name: &name.text, positional: true, required: true }).collect();
        let labels: Vec<String> = params.iter().map(|(name, _)| format!("{}: …", name.text)).collect();
        let name = self.sources.slice(callee).to_owned();
        let signature = format!("{name}({})", labels.join(", "));
        let Some(given) = self.assigned(&slots, callee, arguments, &name, &signature) else { return Typed::unknown(span) };
        let typed = params.iter().zip(given).map(|((name, kind), given)| match given {
            Some(argument) => self.expr(argument, Wanted { kind, place: &name.text }),
            None => Typed::unknown(span),
        });
        let typed = typed.collect();
        Typed::new(span, kind, Meaning::Apply(at, typed))
    }

    /// `record(label: value)`: the record with some values replaced.
    fn overridden(&mut self, base: Typed, arguments: &[Argument], span: Span) -> Typed {
        let fields = self.fields_of(&base);
        let mut replaced: Vec<(Name, Typed)> = Vec::new();
        for argument in arguments {
            let Some(label) = &argument.label else {
                self.report(
                    Diagnostic::new(Code::TooManyArguments, argument.value.span, "a record is changed by label")
                        .help("write `label: value`"),
                );
                continue;
            };
            let kind = match &fields {
                Some(fields) => fields.iter().find(|(name, _)| *name == label.text).map(|(_, kind)| kind.clone()),
                None => Some(Kind::Unknown),
            };
            let Some(kind) = kind else {
                let names = fields.iter().flatten().map(|(name, _)| name.as_str());
                let diagnostic = Diagnostic::new(Code::UnknownField, label.span, format!("the record has no `{}`", label.text))
                    .maybe_help(did_you_mean(&label.text, names.clone()))
                    .note(format!("it has {}", listed(names)));
                self.report(diagnostic);
                continue;
            };
            let value = self.expr(&argument.value, Wanted { kind: &kind, place: &label.text });
            replaced.push((label.clone(), value));
        }
        Typed::new(span, base.kind.clone(), Meaning::Override(Box::new(base), replaced))
    }

    /// The argument of each parameter of a word.
    pub(super) fn given<'e>(
        &mut self,
        word: &Word,
        is_segment: bool,
        callee: Span,
        arguments: &'e [Argument],
    ) -> Option<Given<'e>> {
        let mut slots: Vec<Slot<'_>> = word
            .params
            .iter()
            .map(|param| Slot { name: &param.name, positional: param.positional, required: param.presence == Presence::Required })
            .collect();
        let has_length = is_segment && word.find_param("for").is_none();
        if has_length {
            slots.push(Slot { name: "for", positional: false, required: false });
        }
        let mut given = self.assigned(&slots, callee, arguments, &word.name, &word.signature())?;
        let length = if has_length { given.pop().flatten() } else { None };
        Some((given, length))
    }

    /// The argument of each slot; `None` after a report that leaves the call without meaning.
    fn assigned<'e>(
        &mut self,
        slots: &[Slot<'_>],
        callee: Span,
        arguments: &'e [Argument],
        name: &str,
        signature: &str,
    ) -> Option<Vec<Option<&'e Expr>>> {
        let mut given: Vec<Option<&Argument>> = vec![None; slots.len()];
        let mut complete = true;
        let mut next = 0;
        for argument in arguments {
            let slot = match &argument.label {
                Some(label) => slots.iter().position(|slot| slot.name == label.text),
                None => {
                    let open = (next..slots.len()).find(|at| slots[*at].positional && given[*at].is_none());
                    next = open.map_or(next, |at| at + 1);
                    open
                }
            };
            complete &= self.place(slot.map(|slot| (&mut given[slot], &slots[slot])), argument, slots, name);
        }
        let missing: Vec<&str> = slots
            .iter()
            .zip(&given)
            .filter(|(slot, given)| slot.required && given.is_none())
            .map(|(slot, _)| slot.name)
            .collect();
        // An argument with a wrong label may be the one that is missing.
        if !missing.is_empty() && complete {
            let message = format!("`{name}` needs `{}`", missing.join("`, `"));
            self.report(Diagnostic::new(Code::MissingArgument, callee, message).help(format!("call it as `{signature}`")));
        }
        (complete && missing.is_empty()).then(|| given.into_iter().map(|given| given.map(|argument| &argument.value)).collect())
    }

    /// Puts an argument into its slot, or reports why it has none.
    fn place<'e>(
        &mut self,
        slot: Option<(&mut Option<&'e Argument>, &Slot<'_>)>,
        argument: &'e Argument,
        slots: &[Slot<'_>],
        name: &str,
    ) -> bool {
        match (slot, &argument.label) {
            (Some((given @ None, _)), _) => {
                *given = Some(argument);
                return true;
            }
            (Some((Some(first), slot)), _) => {
                let first = first.value.span;
                let span = argument.label.as_ref().map_or(argument.value.span, |label| label.span);
                self.report(
                    Diagnostic::new(Code::DuplicateArgument, span, format!("`{}` is given twice", slot.name))
                        .also(first, "first given here")
                        .help("remove one of them"),
                );
            }
            (None, Some(label)) => {
                let names = slots.iter().map(|slot| slot.name);
                let mut diagnostic =
                    Diagnostic::new(Code::UnknownArgument, label.span, format!("`{name}` takes no `{}`", label.text))
                        .maybe_help(did_you_mean(&label.text, names.clone()));
                if !slots.is_empty() {
                    diagnostic = diagnostic.note(format!("it takes {}", listed(names)));
                }
                self.report(diagnostic);
            }
            (None, None) => {
                let labelled = slots.iter().filter(|slot| !slot.positional).map(|slot| slot.name);
                let message = match slots {
                    [] => format!("`{name}` takes no arguments"),
                    _ => format!("`{name}` takes no further argument without a label"),
                };
                let mut diagnostic = Diagnostic::new(Code::TooManyArguments, argument.value.span, message);
                diagnostic = match labelled.clone().next() {
                    Some(first) => diagnostic
                        .note(format!("labels: {}", listed(labelled)))
                        .help(format!("say which one it is, such as `{first}: …`")),
                    None => diagnostic.help("remove it"),
                };
                self.report(diagnostic);
            }
        }
        false
    }
}

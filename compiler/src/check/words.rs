//! Words of the vocabulary: which one a name means where a kind is wanted, and its call.

use super::{Checker, Wanted, bounds_of};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Meaning, Typed, TypedArgument, WordCall};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::syntax::{Argument, Expr, Name, parse_value_at};
use crate::vocabulary::{Literal, Presence, Role, Word};

impl Checker<'_> {
    /// Whether a word called `name` yields what is wanted.
    pub(super) fn has_word(&self, name: &str, wanted: &Kind, called: bool) -> bool {
        !self.candidates(name, wanted, called).is_empty()
    }

    /// The words called `name` that yield what is wanted. Where nothing in particular is wanted, a name with arguments is not a
    /// word without parameters, and a bare name not a word that needs some.
    fn candidates(&self, name: &str, wanted: &Kind, called: bool) -> Vec<usize> {
        let named = self.vocabulary.words().iter().enumerate().filter(|(_, word)| word.name == name);
        named
            .filter(|(_, word)| yields(word, wanted) && (*wanted != Kind::Unknown || can_be_written(word, called)))
            .map(|(at, _)| at)
            .collect()
    }

    /// A call of a word; `callee` is the place of its name.
    pub(super) fn word_call(
        &mut self,
        name: &str,
        callee: Span,
        arguments: &[Argument],
        span: Span,
        wanted: Wanted<'_>,
    ) -> Typed {
        let called = span != callee;
        let at = match self.candidates(name, wanted.kind, called)[..] {
            [at] => at,
            [] => return self.unknown(name, callee, wanted),
            [first, ..] if *wanted.kind != Kind::Unknown => first,
            [..] => {
                let kinds: Vec<String> = self.vocabulary.find(name).map(|word| word.kind.to_string()).collect();
                self.report(
                    Diagnostic::new(Code::UnknownWord, callee, format!("`{name}` means several things, and nothing says which"))
                        .note(format!("it can be {}", kinds.join(" or ")))
                        .help("write it where it is used instead of binding it to a name"),
                );
                return Typed::unknown(span);
            }
        };
        self.call_of(at, callee, arguments, span, wanted)
    }

    /// `2:4` or `4x1`: the word that the literal stands for.
    pub(super) fn literal(&mut self, form: Literal, ends: (u32, u32), span: Span, wanted: Wanted<'_>) -> Typed {
        let words = self.vocabulary.words().iter().enumerate();
        let found = words.filter(|(_, word)| word.literal == Some(form) && yields(word, wanted.kind)).map(|(at, _)| at).next();
        let Some(at) = found else {
            let text = self.sources.slice(span).to_owned();
            self.report(Diagnostic::new(Code::WrongKind, span, format!("`{text}` cannot stand here")).note(wanted.sentence()));
            return Typed::unknown(span);
        };
        let params = self.vocabulary.words()[at].params.iter();
        let arguments: Vec<Argument> = params
            .zip([ends.0, ends.1])
            .map(|(param, end)| Argument {
                label: Some(Name { text: param.name.clone(), span }),
                value: Expr::number(span, f64::from(end)),
            })
            .collect();
        self.call_of(at, span, &arguments, span, wanted)
    }

    fn call_of(&mut self, at: usize, callee: Span, arguments: &[Argument], span: Span, wanted: Wanted<'_>) -> Typed {
        let vocabulary = self.vocabulary;
        let word = &vocabulary.words()[at];
        if matches!(word.role, Role::Metric) && !self.scope.in_require {
            self.report(
                Diagnostic::new(Code::MetricOutsideRequire, callee, format!("`{}` is measured in a `require` only", word.name))
                    .help("write it in the `require` that judges it"),
            );
        }
        let is_segment = matches!(word.kind, Kind::Schedule(_));
        let Some((mut given, length)) = self.given(word, is_segment, callee, arguments) else {
            return Typed::unknown(span);
        };
        let wanted_element = wanted.kind.element();
        let mut element = if is_segment { wanted_element.clone() } else { Kind::Unknown };
        let mut typed = Vec::new();
        for (param, given) in word.params.iter().zip(&mut given) {
            let kind = param.kind.with_element(&element);
            let value = match (given.take(), &param.presence) {
                (Some(argument), _) => self.expr(argument, Wanted { kind: &kind, place: &param.name }),
                (None, Presence::Default(text)) => self.default(text, span, &kind, &param.name),
                (None, _) => continue,
            };
            // The first value made of the schedule's elements says what they are, where nothing else does.
            if element == Kind::Unknown && is_segment && kind != param.kind {
                element = element_of(&param.kind, &value.kind);
            }
            let bounds = param.range.as_ref().and_then(|range| bounds_of(range, &kind));
            let kind = param.kind.with_element(&element);
            typed.push(TypedArgument { name: param.name.clone(), kind, value, bounds });
        }
        let length = length.map(|length| Box::new(self.length(length)));
        let kind = if is_segment { Kind::schedule(element) } else { self.unrolled_kind(word, &typed) };
        Typed::new(span, kind, Meaning::Call(WordCall { word: at, name: word.name.clone(), callee, arguments: typed, length }))
    }

    /// A word that unrolls yields what its chain starts with.
    fn unrolled_kind(&self, word: &Word, typed: &[TypedArgument]) -> Kind {
        let Role::Unrolled { seed, .. } = &word.role else { return word.kind.clone() };
        typed.iter().find(|argument| argument.name == *seed).map_or(Kind::Unknown, |argument| argument.value.kind.clone())
    }

    /// A default of the vocabulary, seen from where no name of the recipe is in sight.
    fn default(&mut self, text: &str, span: Span, kind: &Kind, place: &str) -> Typed {
        let Some(expr) = parse_value_at(text, span) else { return Typed::unknown(span) };
        let outer = std::mem::replace(&mut self.scope.words_only, true);
        let typed = self.expr(&expr, Wanted { kind, place });
        self.scope.words_only = outer;
        typed
    }

    /// `for:` of a segment: a share of the stage or a duration.
    fn length(&mut self, length: &Expr) -> Typed {
        let typed = self.expr(length, Wanted::ANYTHING);
        if !matches!(typed.kind, Kind::Ratio | Kind::Duration | Kind::Unknown) {
            let message = format!("`for` takes a share of the stage or a duration, this is {}", typed.kind);
            self.report(Diagnostic::new(Code::WrongUnit, typed.span, message).help("write `10%`, `50 steps` or `1 epoch`"));
            return Typed::unknown(typed.span);
        }
        typed
    }

    /// What to say about a name that no word of the wanted kind has.
    pub(super) fn no_such_word(&self, name: &str, span: Span, wanted: Wanted<'_>) -> Diagnostic {
        if let Kind::Choice(names) = wanted.kind {
            let names = names.iter().map(String::as_str);
            return Diagnostic::new(Code::UnknownWord, span, format!("`{}` cannot be `{name}`", wanted.place))
                .maybe_help(did_you_mean(name, names.clone().chain(self.visible())))
                .note(format!("it is one of {}", listed(names)));
        }
        if let Some(word) = self.vocabulary.find(name).next() {
            let needs_arguments = *wanted.kind == Kind::Unknown;
            let mut diagnostic =
                Diagnostic::new(Code::WrongKind, span, format!("`{name}` {} {}; {}", verb(word), word.kind, wanted.sentence()));
            if needs_arguments {
                diagnostic = Diagnostic::new(Code::MissingArgument, span, format!("`{name}` needs arguments"))
                    .help(format!("call it: `{}`", word.signature()));
                if word.params.is_empty() {
                    diagnostic = Diagnostic::new(Code::TooManyArguments, span, format!("`{name}` takes no arguments"))
                        .help(format!("write `{name}`"));
                }
            }
            return diagnostic;
        }
        let words = || {
            let seen = |word: &&Word| self.scope.in_require || !matches!(word.role, Role::Metric);
            let fitting = self.vocabulary.words().iter().filter(|word| yields(word, wanted.kind)).filter(seen);
            let names: std::collections::BTreeSet<&str> = fitting.map(|word| word.name.as_str()).collect();
            names
        };
        let help = did_you_mean(name, words().into_iter().chain(self.visible()));
        if *wanted.kind == Kind::Unknown || wanted.kind.flows() || words().is_empty() {
            return Diagnostic::new(Code::UnknownName, span, format!("nothing is called `{name}`")).maybe_help(help);
        }
        let kind = match wanted.kind.element() {
            Kind::Method(shelf) | Kind::Weighted(shelf) => format!("no {}", shelf.name()),
            other => format!("nothing that is {other}"),
        };
        let diagnostic = Diagnostic::new(Code::UnknownWord, span, format!("{kind} is called `{name}`")).maybe_help(help);
        diagnostic.note(format!("words that fit: {}", listed(words())))
    }
}

/// Whether a word can be written with arguments, if `called`, or else without.
fn can_be_written(word: &Word, called: bool) -> bool {
    if called { !word.params.is_empty() } else { word.params.iter().all(|param| param.presence != Presence::Required) }
}

/// A stage yields what a method is.
fn verb(word: &Word) -> &'static str {
    match word.role {
        Role::Stage | Role::Unrolled { .. } | Role::Metric => "yields",
        Role::Value | Role::Predicate(_) => "is",
    }
}

/// Whether a word can stand where `wanted` is taken.
fn yields(word: &Word, wanted: &Kind) -> bool {
    match (&word.kind, wanted) {
        (_, Kind::Unknown) => true,
        (Kind::Schedule(_), Kind::Schedule(_)) => true,
        (Kind::Schedule(_), _) => false,
        (kind, wanted) => kind.fits(wanted),
    }
}

/// What the schedule is made of, given a parameter's kind with [`Kind::Element`] in it and the kind of the value it got.
fn element_of(param: &Kind, value: &Kind) -> Kind {
    match (param, value) {
        (Kind::Element, value) => value.clone(),
        (Kind::Range(param), Kind::Range(value))
        | (Kind::List(param), Kind::List(value))
        | (Kind::Record(param), Kind::Record(value)) => element_of(param, value),
        _ => Kind::Unknown,
    }
}

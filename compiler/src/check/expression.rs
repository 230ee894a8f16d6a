//! Expressions: what each form means where a kind is wanted.

use super::{Checker, Wanted};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Meaning, Typed};
use crate::source::Span;
use crate::syntax::{Expr, Name, Node, Operator};
use crate::unit::{Quantity, Unit};

/// Lists, records and ranges inside each other.
const MAX_KIND_DEPTH: usize = 8;

impl Checker<'_> {
    /// An expression where `wanted` is taken; a misfit is reported.
    pub(super) fn expr(&mut self, expr: &Expr, wanted: Wanted<'_>) -> Typed {
        let typed = self.infer(expr, wanted);
        if fits(&typed, wanted.kind) {
            return typed;
        }
        self.misfit(&typed, wanted);
        Typed::unknown(expr.span)
    }

    fn infer(&mut self, expr: &Expr, wanted: Wanted<'_>) -> Typed {
        let span = expr.span;
        match &expr.node {
            Node::Number(amount, unit) => self.number(*amount, unit.as_ref(), span),
            Node::Pair(form, left, right) => self.literal(*form, (*left, *right), span, wanted),
            Node::Within(..) => {
                self.report(
                    Diagnostic::new(Code::WrongKind, span, "a range of allowed values cannot stand here")
                        .note("it stands behind `in` of a `param`, and in the `[…]` of a path to layers")
                        .help("a change from one value to another is written `a to b`"),
                );
                Typed::unknown(span)
            }
            Node::Text(text) => Typed::new(span, Kind::Text, Meaning::Text(text.clone())),
            Node::Flag(flag) => Typed::new(span, Kind::Flag, Meaning::Flag(*flag)),
            Node::Name(name) => self.name(name, span, wanted),
            Node::Field(..) | Node::Index(..) => self.dotted(expr, wanted),
            Node::Call(callee, arguments) => self.call(callee, arguments, span, wanted),
            Node::Negative(inner) => self.negative(inner, span),
            Node::Binary(operator, left, right) => self.binary(*operator, left, right, span, wanted),
            Node::List(elements) => self.list(elements, span, wanted),
            Node::Record(entries) => self.record(entries, span, wanted),
            Node::Expect(inner, comparison, count, clause) => {
                let inner = self.selector(inner);
                Typed::new(span, Kind::Selector, Meaning::Expect(Box::new(inner), *comparison, *count, *clause))
            }
            Node::Maybe(inner) => {
                let inner = self.selector(inner);
                Typed::new(span, Kind::Selector, Meaning::Maybe(Box::new(inner)))
            }
            Node::Error => Typed::unknown(span),
        }
    }

    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr, span: Span, wanted: Wanted<'_>) -> Typed {
        match operator {
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
                self.arithmetic(operator, (left, right), span, wanted)
            }
            Operator::In | Operator::And | Operator::Or | Operator::Except => {
                let (left, right) = (self.selector(left), self.selector(right));
                Typed::new(span, Kind::Selector, Meaning::Combine(operator, Box::new(left), Box::new(right)))
            }
            Operator::To => self.range(left, right, span, wanted),
            Operator::Then => self.then(left, right, span, wanted),
            Operator::Compare(_) => {
                self.report(
                    Diagnostic::new(Code::MisplacedComparison, span, "values are compared in a `require` only, once")
                        .help("write `require …` on a line of its own"),
                );
                Typed::unknown(span)
            }
        }
    }

    fn selector(&mut self, expr: &Expr) -> Typed {
        self.expr(expr, Wanted { kind: &Kind::Selector, place: "" })
    }

    /// `a to b`
    fn range(&mut self, left: &Expr, right: &Expr, span: Span, wanted: Wanted<'_>) -> Typed {
        let element = match wanted.kind {
            Kind::Range(element) => (**element).clone(),
            Kind::Unknown => Kind::Unknown,
            _ => {
                let message = format!("`a to b` is a range; {}", wanted.sentence());
                let mut diagnostic = Diagnostic::new(Code::WrongKind, span, message);
                let words = self.vocabulary.words().iter();
                let segment = words.clone().find(|word| word.params.iter().any(|param| matches!(param.kind, Kind::Range(_))));
                if let (Kind::Schedule(_), Some(word)) = (wanted.kind, segment) {
                    diagnostic = diagnostic.help(format!("say how it changes: `{}({})`", word.name, self.sources.slice(span)));
                }
                self.report(diagnostic);
                return Typed::unknown(span);
            }
        };
        let left = self.expr(left, Wanted { kind: &element, place: wanted.place });
        let element = if element == Kind::Unknown { left.kind.clone() } else { element };
        let right = self.expr(right, Wanted { kind: &element, place: wanted.place });
        self.nested(Typed::new(span, Kind::range(element), Meaning::Range(Box::new(left), Box::new(right))))
    }

    /// `a then b`
    fn then(&mut self, left: &Expr, right: &Expr, span: Span, wanted: Wanted<'_>) -> Typed {
        let kind = Kind::schedule(wanted.kind.element().clone());
        let left = self.expr(left, Wanted { kind: &kind, place: wanted.place });
        let kind = if kind.element() == &Kind::Unknown && left.kind != Kind::Unknown { left.kind.clone() } else { kind };
        let right = self.expr(right, Wanted { kind: &kind, place: wanted.place });
        for side in [&left, &right] {
            if !matches!(side.kind, Kind::Schedule(_) | Kind::Unknown) {
                self.report(
                    Diagnostic::new(Code::WrongKind, side.span, format!("`then` joins schedules, this is {}", side.kind))
                        .help("say how long it holds: use a schedule that keeps its value"),
                );
                return Typed::unknown(span);
            }
        }
        Typed::new(span, kind, Meaning::Then(Box::new(left), Box::new(right)))
    }

    fn list(&mut self, elements: &[Expr], span: Span, wanted: Wanted<'_>) -> Typed {
        let mut kind = match wanted.kind {
            Kind::List(element) => (**element).clone(),
            _ => Kind::Unknown,
        };
        let mut typed = Vec::with_capacity(elements.len());
        for element in elements {
            let element = self.expr(element, Wanted { kind: &kind, place: wanted.place });
            if kind == Kind::Unknown {
                kind = element.kind.clone();
            }
            typed.push(element);
        }
        self.nested(Typed::new(span, Kind::list(kind), Meaning::List(typed)))
    }

    /// Reports a value whose kind is nested so deeply that following it would take much memory.
    fn nested(&mut self, typed: Typed) -> Typed {
        if typed.kind.depth() <= MAX_KIND_DEPTH {
            return typed;
        }
        self.report(
            Diagnostic::new(Code::TooDeep, typed.span, "lists, records and ranges are nested too deeply here")
                .note(format!("{MAX_KIND_DEPTH} inside each other are the most")),
        );
        Typed::unknown(typed.span)
    }

    fn record(&mut self, entries: &[(Name, Expr)], span: Span, wanted: Wanted<'_>) -> Typed {
        let kind = match wanted.kind {
            Kind::Record(element) => (**element).clone(),
            _ => Kind::Unknown,
        };
        let mut typed: Vec<(Name, Typed)> = Vec::with_capacity(entries.len());
        for (label, value) in entries {
            let value = self.expr(value, Wanted { kind: &kind, place: &label.text });
            if let Some((first, _)) = typed.iter().find(|(other, _)| other.text == label.text) {
                let diagnostic = Diagnostic::new(Code::DuplicateArgument, label.span, format!("`{}` is there twice", label.text))
                    .also(first.span, "first here")
                    .help("remove one of them");
                self.report(diagnostic);
                continue;
            }
            typed.push((label.clone(), value));
        }
        Typed::new(span, Kind::record(kind), Meaning::Record(typed))
    }
}

/// Whether an expression fits: its kind, and for a number also its unit.
fn fits(typed: &Typed, wanted: &Kind) -> bool {
    let element = wanted.element();
    match &typed.meaning {
        Meaning::Quantity(Quantity { amount, unit }) if element.is_quantity() => {
            let whole = *element != Kind::Integer || (*unit == Unit::One && amount.fract() == 0.0);
            Unit::of_kind(element).contains(unit) && whole
        }
        _ => typed.kind.fits(wanted),
    }
}

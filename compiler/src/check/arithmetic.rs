//! Numbers with units: which can be combined, what comes out, and what to say where they cannot.

use super::{Checker, Wanted};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::{Kind, Shelf};
use crate::recipe::{Body, Bounds, Meaning, Typed};
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::syntax::{Expr, Name, Node, Operator};
use crate::unit::{Amount, Quantity, Unit};

impl Checker<'_> {
    /// A number as written.
    pub(super) fn number(&mut self, amount: f64, unit: Option<&Name>, span: Span) -> Typed {
        let unit = match unit.map(|name| (Unit::parse(&name.text), name)) {
            None => Unit::One,
            Some((Some(unit), _)) => unit,
            Some((None, name)) => {
                let diagnostic = Diagnostic::new(Code::UnknownUnit, name.span, format!("`{}` is not a unit", name.text))
                    .maybe_help(did_you_mean(&name.text, Unit::spellings()))
                    .note(format!("units: {}", Unit::spellings().collect::<Vec<_>>().join(", ")));
                self.report(diagnostic);
                return Typed::unknown(span);
            }
        };
        Typed::new(span, unit.kind(), Meaning::Quantity(Quantity::new(amount, unit)))
    }

    /// `-a`
    pub(super) fn negative(&mut self, inner: &Expr, span: Span) -> Typed {
        let inner = self.expr(inner, Wanted::ANYTHING);
        match (&inner.meaning, &inner.kind) {
            (Meaning::Quantity(quantity), kind) => {
                Typed::new(span, kind.clone(), Meaning::Quantity(Quantity::new(-quantity.amount, quantity.unit)))
            }
            (_, Kind::Unknown) => Typed::unknown(span),
            (_, kind) if kind.is_quantity() => Typed::new(span, kind.clone(), Meaning::Negative(Box::new(inner))),
            (_, kind) => {
                let message = format!("`-` works on numbers, this is {kind}");
                self.report(Diagnostic::new(Code::WrongKind, inner.span, message));
                Typed::unknown(span)
            }
        }
    }

    /// `a + b` and its like, between quantities or as a weighted sum of methods.
    pub(super) fn arithmetic(&mut self, operator: Operator, sides: (&Expr, &Expr), span: Span, wanted: Wanted<'_>) -> Typed {
        let (left, right) = sides;
        let shelf = match wanted.kind {
            Kind::Weighted(shelf) => Some(shelf.clone()),
            _ => self.shelf_of(left).or_else(|| self.shelf_of(right)),
        };
        if let Some(shelf) = shelf {
            return self.weighted(operator, sides, span, shelf);
        }
        let (left, right) = (self.expr(left, Wanted::ANYTHING), self.expr(right, Wanted::ANYTHING));
        if left.kind == Kind::Unknown || right.kind == Kind::Unknown {
            return Typed::unknown(span);
        }
        for side in [&left, &right] {
            if !side.kind.is_quantity() {
                let message = format!("`{}` works on numbers, this is {}", operator.symbol(), side.kind);
                self.report(Diagnostic::new(Code::WrongKind, side.span, message));
                return Typed::unknown(span);
            }
        }
        match combined(operator, &left.kind, &right.kind) {
            Some(kind) => Typed::new(span, kind, Meaning::Arithmetic(operator, Box::new(left), Box::new(right))),
            None => {
                let message = format!("`{}` cannot join {} and {}", operator.symbol(), left.kind, right.kind);
                let diagnostic = Diagnostic::new(Code::WrongUnit, span, message)
                    .also(left.span, left.kind.to_string())
                    .also(right.span, right.kind.to_string())
                    .maybe_help(units_help(if left.kind == Kind::Number { &right.kind } else { &left.kind }));
                self.report(diagnostic);
                Typed::unknown(span)
            }
        }
    }

    /// `0.5 * a + b`, the methods of one shelf.
    fn weighted(&mut self, operator: Operator, (left, right): (&Expr, &Expr), span: Span, shelf: Shelf) -> Typed {
        let kind = Kind::Weighted(shelf.clone());
        let method = Wanted { kind: &kind, place: "" };
        let coefficient_kind = Kind::schedule(Kind::Number);
        let coefficient = Wanted { kind: &coefficient_kind, place: "coefficient" };
        let (left, right) = match operator {
            Operator::Add => (self.expr(left, method), self.expr(right, method)),
            Operator::Multiply if self.shelf_of(left).is_some() => {
                let first = self.expr(right, coefficient);
                (first, self.expr(left, method))
            }
            Operator::Multiply => (self.expr(left, coefficient), self.expr(right, method)),
            _ => {
                let message = format!("`{}` cannot join {kind}", operator.symbol());
                self.report(Diagnostic::new(Code::WrongKind, span, message).help("add them with `+`, weigh them with `0.5 * …`"));
                return Typed::unknown(span);
            }
        };
        Typed::new(span, kind, Meaning::Arithmetic(operator, Box::new(left), Box::new(right)))
    }

    /// The shelf of the methods that an expression adds up, if it does; nothing is reported.
    fn shelf_of(&self, expr: &Expr) -> Option<Shelf> {
        let of_kind = |kind: &Kind| match kind {
            Kind::Method(shelf) | Kind::Weighted(shelf) if self.summable.contains(shelf) => Some(shelf.clone()),
            _ => None,
        };
        match &expr.node {
            Node::Name(name) => match self.bound(name) {
                Some(super::names::Target::Parameter(_, kind)) => of_kind(&kind),
                Some(super::names::Target::Item(at)) => of_kind(&self.item(at.file, at.item)?.kind),
                None => self.vocabulary.find(name).find_map(|word| of_kind(&word.kind)),
            },
            Node::Field(base, name) => {
                let Node::Name(import) = &base.node else { return None };
                let Some(super::names::Target::Item(at)) = self.bound(import) else { return None };
                let Body::Import(Some(file)) = self.item(at.file, at.item)?.body else { return None };
                let item = *self.files.get(file)?.names.get(&name.text)?;
                of_kind(&self.item(file, item)?.kind)
            }
            Node::Call(callee, _) => self.shelf_of(callee),
            Node::Binary(Operator::Add | Operator::Multiply, left, right) => self.shelf_of(left).or_else(|| self.shelf_of(right)),
            _ => None,
        }
    }

    /// Whether the sides of a `require` can be compared.
    pub(super) fn comparable(&mut self, left: &Typed, right: &Typed) {
        if left.kind == Kind::Unknown || right.kind == Kind::Unknown {
            return;
        }
        for side in [left, right] {
            if !side.kind.is_quantity() {
                let message = format!("a `require` compares numbers, this is {}", side.kind);
                self.report(Diagnostic::new(Code::WrongKind, side.span, message).help("measure it with a metric"));
                return;
            }
        }
        let difference = |side: &Typed| matches!(side.meaning, Meaning::Arithmetic(Operator::Subtract, ..));
        let fits = left.kind.fits(&right.kind)
            || (left.kind == Kind::Ratio && right.kind == Kind::Points && difference(left))
            || (right.kind == Kind::Ratio && left.kind == Kind::Points && difference(right));
        if !fits {
            let message = format!("{} cannot be compared with {}", left.kind, right.kind);
            let diagnostic = Diagnostic::new(Code::WrongUnit, right.span, message)
                .also(left.span, left.kind.to_string())
                .label(right.kind.to_string())
                .maybe_help(units_help(&left.kind));
            self.report(diagnostic);
        }
    }

    /// A value that does not fit: the unit is said to be wrong where both are quantities, otherwise the kind.
    pub(super) fn misfit(&mut self, typed: &Typed, wanted: Wanted<'_>) {
        let element = wanted.kind.element();
        let text = self.sources.slice(typed.span).to_owned();
        if !(typed.kind.is_quantity() && element.is_quantity()) {
            let subject = if text.len() <= 40 && !text.contains('\n') { format!("`{text}`") } else { "this".to_owned() };
            let mut diagnostic =
                Diagnostic::new(Code::WrongKind, typed.span, format!("{subject} is {}; {}", typed.kind, wanted.sentence()));
            if let (Kind::Number | Kind::Integer, Kind::Method(_)) = (&typed.kind, element) {
                diagnostic = diagnostic.help("write the word for it");
            }
            if let Some(declared) = self.declared(typed) {
                diagnostic = diagnostic.also(declared, "declared here");
            }
            self.report(diagnostic);
            return;
        }
        let bare = matches!(typed.meaning, Meaning::Quantity(Quantity { unit: Unit::One, .. }));
        let message = if bare && *element == Kind::Integer {
            format!("`{text}` is not whole; {}", wanted.sentence())
        } else if bare {
            format!("`{text}` has no unit; {}", wanted.sentence())
        } else {
            format!("this is {}; {}", typed.kind, wanted.sentence())
        };
        let mut diagnostic = Diagnostic::new(Code::WrongUnit, typed.span, message).maybe_help(unit_help(typed, element));
        if let Some(declared) = self.declared(typed) {
            diagnostic = diagnostic.also(declared, "declared here");
        }
        self.report(diagnostic);
    }

    /// Where the name that an expression consists of is bound.
    fn declared(&self, typed: &Typed) -> Option<Span> {
        match &typed.meaning {
            Meaning::Item(at) => self.item(at.file, at.item)?.name.as_ref().map(|name| name.span),
            Meaning::Parameter(index) => self.scope.params.get(*index).map(|(name, _)| name.span),
            _ => None,
        }
    }
}

/// The kind that comes out of two quantities, if they can be combined.
fn combined(operator: Operator, left: &Kind, right: &Kind) -> Option<Kind> {
    let plain = |kind: &Kind| if *kind == Kind::Integer { Kind::Number } else { kind.clone() };
    let (left, right) = (plain(left), plain(right));
    match (operator, left, right) {
        (Operator::Add | Operator::Subtract, left, right) if left == right => Some(left),
        (Operator::Add | Operator::Subtract, Kind::Ratio, Kind::Points) => Some(Kind::Ratio),
        (Operator::Add, Kind::Points, Kind::Ratio) => Some(Kind::Ratio),
        (Operator::Multiply, Kind::Number | Kind::Ratio, other) => Some(other),
        (Operator::Multiply | Operator::Divide, other, Kind::Number) => Some(other),
        (Operator::Multiply, other, Kind::Ratio) => Some(other),
        (Operator::Divide, left, right) if left == right => Some(Kind::Number),
        _ => None,
    }
}

/// The two ends of `a..b`, if both are of `kind` and in order.
pub(super) fn bounds(range: &Expr, kind: &Kind) -> Option<Bounds> {
    let Node::Within(least, most) = &range.node else { return None };
    let quantity = |end: &Expr| {
        let Node::Number(amount, unit) = &end.node else { return None };
        let unit = unit.as_ref().map_or(Some(Unit::One), |unit| Unit::parse(&unit.text))?;
        Unit::of_kind(kind).contains(&unit).then_some(Quantity::new(*amount, unit))
    };
    let (least, most) = (quantity(least)?, quantity(most)?);
    (least.unit.to_base(least.amount) <= most.unit.to_base(most.amount)).then_some((least, most))
}

/// "write it in `%`".
pub(super) fn units_help(kind: &Kind) -> Option<String> {
    match Unit::of_kind(kind.element()) {
        [] => None,
        [Unit::One] => Some("write a number without a unit".to_owned()),
        units => Some(format!("write it in `{}`", units.iter().map(|unit| unit.word()).collect::<Vec<_>>().join("`, `"))),
    }
}

/// Help with the very number: "write `75%`", "write `6 epochs`, or in `steps`, …".
fn unit_help(typed: &Typed, wanted: &Kind) -> Option<String> {
    let Meaning::Quantity(Quantity { amount, unit }) = typed.meaning else { return units_help(wanted) };
    let (first, others) = Unit::of_kind(wanted).split_first()?;
    if unit != Unit::One && !others.is_empty() {
        // Three hours are not three epochs.
        return units_help(wanted);
    }
    let amount = match wanted {
        Kind::Ratio if unit == Unit::One && amount.abs() <= 1.0 => amount * 100.0,
        Kind::Integer => amount.round(),
        _ => amount,
    };
    let written = if *first == Unit::One { Amount(amount).to_string() } else { Quantity::new(amount, *first).to_string() };
    Some(match others {
        [] => format!("write `{written}`"),
        others => {
            let others: Vec<&str> = others.iter().map(|unit| unit.word()).collect();
            format!("write `{written}`, or a number of `{}`", others.join("`, `"))
        }
    })
}

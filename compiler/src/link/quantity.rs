//! Numbers with units: sums and products worked out, and the result as the value that a place takes.

use super::{Context, FrameId, Linker, Place};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Bounds, Meaning, Typed};
use crate::source::Span;
use crate::syntax::Operator;
use crate::unit::{Quantity, Unit};
use crate::value::{Duration, Value};

/// The largest number of rows, tokens, bytes and the like that a float holds exactly.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Values that lie outside their bounds by a smaller share are inside.
const BOUND_TOLERANCE: f64 = 1e-12;

impl<'r> Linker<'r> {
    /// The number that an expression comes to.
    pub(super) fn quantity(&mut self, expr: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Quantity> {
        self.deeper(expr.span, |this| {
            let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
            match &expr.meaning {
                Meaning::Quantity(quantity) => Some(*quantity),
                Meaning::Negative(inner) => {
                    let inner = this.quantity(inner, frame, context)?;
                    Some(Quantity::new(-inner.amount, inner.unit))
                }
                Meaning::Arithmetic(operator, left, right) => {
                    let (left, right) = (this.quantity(left, frame, context), this.quantity(right, frame, context));
                    this.combined(*operator, left?, right?, expr.span, context)
                }
                _ => None,
            }
        })
    }

    fn combined(
        &mut self,
        operator: Operator,
        left: Quantity,
        right: Quantity,
        span: Span,
        context: Context<'_>,
    ) -> Option<Quantity> {
        let result = match operator {
            Operator::Multiply => product(left, right),
            Operator::Divide => quotient(left, right),
            _ => self.sum(left, if operator == Operator::Subtract { -1.0 } else { 1.0 }, right, span, context)?,
        };
        if result.amount.is_finite() {
            return Some(result);
        }
        self.report(
            Diagnostic::new(Code::NotANumber, span, format!("`{left} {} {right}` has no result", operator.symbol()))
                .note("a result is a finite number"),
        );
        None
    }

    fn sum(&mut self, left: Quantity, sign: f64, right: Quantity, span: Span, context: Context<'_>) -> Option<Quantity> {
        if left.unit == right.unit {
            return Some(Quantity::new(left.amount + sign * right.amount, left.unit));
        }
        if left.unit.converts_to(right.unit) {
            let sum = left.unit.to_base(left.amount) + sign * right.unit.to_base(right.amount);
            return Some(Quantity::new(left.unit.in_unit(sum), left.unit));
        }
        match (left.unit, right.unit) {
            (Unit::Percent, Unit::Points) | (Unit::Points, Unit::Percent) => {
                Some(Quantity::new(left.amount + sign * right.amount, Unit::Percent))
            }
            (Unit::Epochs | Unit::Steps, Unit::Epochs | Unit::Steps) if context.steps_per_epoch.is_some() => {
                let per_epoch = context.steps_per_epoch.unwrap_or_default() as f64;
                let steps = |side: Quantity| if side.unit == Unit::Epochs { side.amount * per_epoch } else { side.amount };
                Some(Quantity::new((steps(left) + sign * steps(right)).round(), Unit::Steps))
            }
            _ => {
                let counted = |unit: Unit| matches!(unit, Unit::Epochs | Unit::Steps);
                let epochs = counted(left.unit) && counted(right.unit);
                let mut diagnostic =
                    Diagnostic::new(Code::MixedUnits, span, format!("`{left}` and `{right}` cannot be added here"));
                if epochs {
                    diagnostic = diagnostic.note("how many steps an epoch has is known only in a stage whose data is known");
                }
                self.report(diagnostic.help("write both in one unit"));
                None
            }
        }
    }

    /// A quantity as the value that a place takes.
    pub(super) fn converted(&mut self, quantity: Quantity, kind: &Kind, span: Span) -> Option<Value> {
        let Quantity { amount, unit } = quantity;
        if !Unit::of_kind(kind).contains(&unit) {
            let message = format!("this comes to {quantity}; {kind} is needed here");
            self.report(Diagnostic::new(Code::WrongUnit, span, message).note(units(kind)));
            return None;
        }
        let base = unit.to_base(amount);
        let whole = base.fract() == 0.0 && base.abs() <= MAX_WHOLE;
        let counted = matches!(kind, Kind::Rows | Kind::Tokens | Kind::Bytes | Kind::Bits);
        let negative = amount < 0.0 && (counted || matches!(kind, Kind::Duration | Kind::Time));
        if negative || ((counted || *kind == Kind::Integer) && !whole) {
            let what = if negative { "cannot be negative" } else { "is not a whole number of reasonable size" };
            self.report(Diagnostic::new(Code::OutOfRange, span, format!("`{quantity}` {what}")));
            return None;
        }
        Some(match kind {
            Kind::Integer => Value::Integer(base as i64),
            Kind::Ratio => Value::Ratio(base),
            Kind::Points => Value::Points(base),
            Kind::Duration => Value::Duration(Duration { amount, unit }),
            Kind::Time => Value::Seconds(base),
            Kind::Rows => Value::Rows(base as u64),
            Kind::Tokens => Value::Tokens(base as u64),
            Kind::Bytes => Value::Bytes(base as u64),
            Kind::Bits => Value::Bits(base as u64),
            _ => Value::Number(base),
        })
    }

    /// Reports a quantity that lies outside its bounds; durations in another unit than the bounds are let through.
    pub(super) fn within(&mut self, quantity: Quantity, bounds: Option<&Bounds>, span: Span, name: &str) -> Option<()> {
        let Some((least, most)) = bounds else { return Some(()) };
        if !quantity.unit.converts_to(least.unit) {
            return Some(());
        }
        let base = |quantity: &Quantity| quantity.unit.to_base(quantity.amount);
        // Values inside a schedule went through their base unit and back, so the last digit may be another one.
        let slack = BOUND_TOLERANCE * base(least).abs().max(base(most).abs());
        let (low, high) = (base(least) - slack, base(most) + slack);
        if (low..=high).contains(&base(&quantity)) {
            return Some(());
        }
        let nearest = if base(&quantity) < low { least } else { most };
        self.report(
            Diagnostic::new(Code::OutOfRange, span, format!("`{name}` lies in {least}..{most}, this is {quantity}"))
                .help(format!("the nearest value allowed is `{nearest}`")),
        );
        None
    }
}

fn product(left: Quantity, right: Quantity) -> Quantity {
    let amount = left.amount * right.amount;
    match (left.unit, right.unit) {
        (Unit::One, unit) | (unit, Unit::One) => Quantity::new(amount, unit),
        (Unit::Percent, unit) | (unit, _) => Quantity::new(amount / 100.0, unit),
    }
}

fn quotient(left: Quantity, right: Quantity) -> Quantity {
    if right.unit == Unit::One {
        return Quantity::new(left.amount / right.amount, left.unit);
    }
    Quantity::new(left.unit.to_base(left.amount) / right.unit.to_base(right.amount), Unit::One)
}

fn units(kind: &Kind) -> String {
    let units: Vec<&str> = Unit::of_kind(kind).iter().map(|unit| unit.word()).collect();
    format!("units that fit: `{}`", units.join("`, `"))
}

//! Schedules and weighted sums.

use super::{Context, FrameId, Linker, Place};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::recipe::{Meaning, Typed};
use crate::source::Span;
use crate::syntax::Operator;
use crate::unit::{Quantity, Unit};
use crate::value::{Call, Length, Schedule, Segment, Term, Value};

/// Shares of a stage that differ by less are equal.
const SHARE_TOLERANCE: f64 = 1e-9;

impl<'r> Linker<'r> {
    /// A schedule made of `element`; a plain value is one that does not change.
    pub(super) fn schedule(&mut self, expr: &'r Typed, element: &Kind, frame: FrameId, context: Context<'_>) -> Option<Schedule> {
        let Place::Expr(resolved, ..) = self.resolve(expr, frame)? else { return None };
        if !matches!(resolved.kind, Kind::Schedule(_)) {
            return self.value(expr, element, frame, context).map(|value| Schedule::Constant(Box::new(value)));
        }
        let mut segments = Vec::new();
        let mut places = Vec::new();
        self.segments(expr, frame, context, &mut segments, &mut places)?;
        self.filled(&segments, &places, expr.span)?;
        Some(Schedule::Segments(segments))
    }

    /// The segments of `a then b` and their places, from left to right.
    fn segments(
        &mut self,
        expr: &'r Typed,
        frame: FrameId,
        context: Context<'_>,
        segments: &mut Vec<Segment>,
        places: &mut Vec<Span>,
    ) -> Option<()> {
        self.deeper(expr.span, |this| {
            let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
            match &expr.meaning {
                Meaning::Then(first, next) => {
                    this.segments(first, frame, context, segments, places)?;
                    this.segments(next, frame, context, segments, places)
                }
                Meaning::Call(call) => {
                    let shape = this.method(call, frame, context);
                    let length = match &call.length {
                        Some(length) => this.length(length, frame, context)?,
                        None => Length::Rest,
                    };
                    segments.push(Segment { shape: shape?, length });
                    places.push(expr.span);
                    Some(())
                }
                _ => None,
            }
        })
    }

    fn length(&mut self, length: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Length> {
        let quantity = self.quantity(length, frame, context)?;
        if quantity.unit != Unit::Percent {
            let duration = self.converted(quantity, &Kind::Duration, length.span)?;
            return duration.as_duration().map(Length::Duration);
        }
        let whole = (Quantity::new(0.0, Unit::Percent), Quantity::new(100.0, Unit::Percent));
        self.within(quantity, Some(&whole), length.span, "for")?;
        Some(Length::Share(quantity.amount / 100.0))
    }

    /// Checks that the segments fill their stage: one takes the rest, or their shares end at 100 %.
    fn filled(&mut self, segments: &[Segment], places: &[Span], whole: Span) -> Option<()> {
        let mut shares = 0.0;
        let mut only_shares = true;
        let mut rest: Vec<Span> = Vec::new();
        for (segment, place) in segments.iter().zip(places) {
            match segment.length {
                Length::Share(share) => shares += share,
                Length::Duration(_) => only_shares = false,
                Length::Rest => rest.push(*place),
            }
        }
        let percent = Quantity::new(shares * 100.0, Unit::Percent);
        let wrong = |span, message: String| Diagnostic::new(Code::ScheduleLength, span, message);
        let diagnostic = match rest[..] {
            [] if only_shares && (shares - 1.0).abs() < SHARE_TOLERANCE => return Some(()),
            [] => wrong(whole, "the segments of this schedule do not say what fills the rest of the stage".to_owned())
                .help("leave out `for:` in one of them; it gets the rest"),
            [_] if shares < 1.0 - SHARE_TOLERANCE => return Some(()),
            [only] if segments.len() > 1 => {
                wrong(only, format!("nothing is left for this segment; the others take {percent} of the stage"))
                    .help("make the others shorter")
            }
            [_] => return Some(()),
            [first, second, ..] => wrong(second, "two segments of this schedule want the rest of the stage".to_owned())
                .also(first, "the first one")
                .help("say how long one of them lasts: `for: 10%` or `for: 50 steps`"),
        };
        self.report(diagnostic);
        None
    }

    /// A weighted sum of methods.
    pub(super) fn weighted(&mut self, expr: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Vec<Term>> {
        self.deeper(expr.span, |this| {
            let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
            match &expr.meaning {
                Meaning::Call(call) => {
                    let call = this.method(call, frame, context)?;
                    Some(vec![Term { coefficient: Schedule::Constant(Box::new(Value::Number(1.0))), call }])
                }
                Meaning::Arithmetic(Operator::Add, left, right) => {
                    let (left, right) = (this.weighted(left, frame, context), this.weighted(right, frame, context));
                    let mut terms = left?;
                    terms.extend(right?);
                    Some(terms)
                }
                Meaning::Arithmetic(_, coefficient, sum) => {
                    let factor = this.schedule(coefficient, &Kind::Number, frame, context);
                    let terms = this.weighted(sum, frame, context)?;
                    let factor = factor?;
                    let scaled = terms.into_iter().map(|term| {
                        let coefficient = this.scaled(&factor, term.coefficient, coefficient.span)?;
                        Some(Term { coefficient, call: term.call })
                    });
                    scaled.collect()
                }
                _ => None,
            }
        })
    }

    /// The product of two coefficients, of which one may change over time.
    fn scaled(&mut self, factor: &Schedule, coefficient: Schedule, span: Span) -> Option<Schedule> {
        let number = |schedule: &Schedule| match schedule {
            Schedule::Constant(value) => value.as_number(),
            Schedule::Segments(_) => None,
        };
        match (number(factor), number(&coefficient)) {
            (Some(a), Some(b)) => Some(Schedule::Constant(Box::new(Value::Number(a * b)))),
            (Some(1.0), None) => Some(coefficient),
            (None, Some(1.0)) => Some(factor.clone()),
            _ => {
                self.report(
                    Diagnostic::new(Code::WrongKind, span, "a weight that changes cannot be multiplied by another weight")
                        .help("write the product into the schedule"),
                );
                None
            }
        }
    }
}

/// The numbers of the recipe's own units inside a value that may be a schedule.
pub(super) fn elements(value: &Value, found: &mut Vec<Quantity>) {
    match value {
        Value::Ratio(ratio) => found.push(Quantity::new(ratio * 100.0, Unit::Percent)),
        Value::Number(number) => found.push(Quantity::new(*number, Unit::One)),
        Value::Integer(number) => found.push(Quantity::new(*number as f64, Unit::One)),
        Value::Range(from, to) => [from, to].into_iter().for_each(|end| elements(end, found)),
        Value::List(values) => values.iter().for_each(|value| elements(value, found)),
        Value::Record(fields) => fields.iter().for_each(|(_, value)| elements(value, found)),
        Value::Schedule(Schedule::Constant(value)) => elements(value, found),
        Value::Schedule(Schedule::Segments(segments)) => {
            let calls: Vec<&Call> = segments.iter().map(|segment| &segment.shape).collect();
            calls.iter().flat_map(|call| &call.arguments).for_each(|argument| elements(&argument.value, found));
        }
        _ => {}
    }
}

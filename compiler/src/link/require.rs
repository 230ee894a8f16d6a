//! `require`: both sides as numbers and measurements.

use super::{Context, FrameId, Linker, OUTSIDE, Place};
use crate::graph::{Stage, Task};
use crate::recipe::{Meaning, Typed};
use crate::requirement::{Comparison, Measured, Requirement};
use crate::source::Span;
use crate::syntax::Operator;

impl<'r> Linker<'r> {
    /// Adds a bar; every artifact below waits for it.
    pub(super) fn require(&mut self, left: &'r Typed, comparison: Comparison, right: &'r Typed, span: Span) {
        let name = self.unique(&format!("require.{}", self.bars.len() + 1));
        let context = Context { name: &name, ..Context::OUTSIDE };
        let (left, right) = (self.measured(left, OUTSIDE, context), self.measured(right, OUTSIDE, context));
        let (Some(left), Some(right)) = (left, right) else { return };
        let task = Task::Require(Requirement { left, comparison, right });
        let stage = Stage { name, binding: None, span, task, modules: None, fields: None, steps_per_epoch: None };
        let bar = self.graph.add(stage, &[]);
        self.bars.push(bar);
    }

    fn measured(&mut self, expr: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Measured> {
        self.deeper(expr.span, |this| {
            let Place::Expr(inner, frame, _) = this.resolve(expr, frame)? else { return None };
            let boxed = |side: Option<Measured>| side.map(Box::new);
            match &inner.meaning {
                Meaning::Call(call) => this.method(call, frame, context).map(Measured::Metric),
                Meaning::Negative(inner) => boxed(this.measured(inner, frame, context)).map(Measured::Negative),
                Meaning::Arithmetic(operator, left, right) => {
                    let (left, right) = (this.measured(left, frame, context), this.measured(right, frame, context));
                    let (left, right) = (boxed(left)?, boxed(right)?);
                    Some(match operator {
                        Operator::Add => Measured::Sum(left, right),
                        Operator::Subtract => Measured::Difference(left, right),
                        Operator::Multiply => Measured::Product(left, right),
                        _ => Measured::Quotient(left, right),
                    })
                }
                _ => this.value(inner, &inner.kind, frame, context).map(Measured::Value),
            }
        })
    }
}

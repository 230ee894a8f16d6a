//! The shelf of schedules: a number that moves while a stage runs.
//!
//! The same values drive sparsity, learning rate, loss weights and temperature. A curve is written over 0 to 1 of its own segment;
//! segments are joined by `then`; each takes a share of the stage and one takes what is left. So nothing here counts epochs from
//! the start of a run, and a schedule can be drawn and tested without training.

use std::fmt::Debug;
use std::sync::Arc;

use sparsec_compiler::{Duration, Kind, Length, Unit, Value};

use crate::shelf::{self, Level, Parameter, Shelf};
use crate::{Fault, Result, row};

mod constant;
mod cosine;
mod cubic;
mod hold;
mod linear;

pub use constant::Constant;
pub use cosine::Cosine;
pub use cubic::Cubic;
pub use hold::Hold;
pub use linear::Linear;

/// The shape of one segment.
pub trait Curve: Debug + Send + Sync {
    /// The value at `x`, 0 at the start of the segment and 1 at its end; both ends are met exactly.
    fn at(&self, x: f64) -> f64;
}

/// Every curve.
pub static CURVES: Shelf<dyn Curve> = Shelf::new(
    "segment",
    &[row!(dyn Curve, Constant), row!(dyn Curve, Linear), row!(dyn Curve, Cubic), row!(dyn Curve, Cosine), row!(dyn Curve, Hold)],
);

/// How long one segment takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Span {
    /// Optimizer steps.
    Steps(u64),
    /// Passes over the training data.
    Epochs(f64),
    /// A share of the stage, 0 to 1.
    Share(f64),
    /// Whatever the other segments leave.
    #[default]
    Rest,
}

impl Span {
    fn read(length: Length) -> Result<Self> {
        match length {
            Length::Share(share) => Ok(Self::Share(share)),
            Length::Rest => Ok(Self::Rest),
            Length::Duration(duration) => Self::of(duration),
        }
    }

    /// A duration as the compiler lets it through: in steps or epochs.
    ///
    /// # Errors
    /// A bug of ours.
    pub fn of(duration: Duration) -> Result<Self> {
        match duration.unit {
            Unit::Steps => Ok(Self::Steps(duration.amount.round() as u64)),
            Unit::Epochs => Ok(Self::Epochs(duration.amount)),
            _ => Err(Fault::internal(format!("{duration} is neither steps nor epochs"))),
        }
    }
}

/// How long a stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageLength {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Optimizer steps of one pass over the training data.
    pub steps_per_epoch: u64,
}

impl StageLength {
    /// The steps of `span`; none for what is left.
    pub fn steps_of(self, span: Span) -> Option<u64> {
        match span {
            Span::Steps(steps) => Some(steps),
            Span::Epochs(epochs) => Some((epochs * self.steps_per_epoch as f64).round() as u64),
            Span::Share(share) => Some((share * self.steps as f64).round() as u64),
            Span::Rest => None,
        }
    }
}

/// Segments one after the other, as a recipe writes them.
#[derive(Clone, Debug)]
pub struct Schedule {
    segments: Vec<(Arc<dyn Curve>, Span)>,
}

impl Schedule {
    /// One segment.
    pub fn new(curve: impl Curve + 'static, span: Span) -> Self {
        Self { segments: vec![(Arc::new(curve), span)] }
    }

    /// The same value throughout.
    pub fn constant(value: f64) -> Self {
        Self::new(Constant { value: Level(value) }, Span::Rest)
    }

    /// The schedule that a recipe writes; a plain quantity does not change.
    ///
    /// # Errors
    /// A value that is no quantity and no schedule.
    pub fn read(value: &Value) -> Result<Self> {
        let segments = match value {
            Value::Schedule(sparsec_compiler::Schedule::Segments(segments)) => segments,
            Value::Schedule(sparsec_compiler::Schedule::Constant(value)) => return Self::read(value),
            quantity => return Ok(Self::constant(shelf::scalar(quantity)?)),
        };
        let segments = segments.iter().map(|segment| Ok((CURVES.make(&segment.shape)?, Span::read(segment.length)?)));
        Ok(Self { segments: segments.collect::<Result<_>>()? })
    }

    /// This schedule, and `next` after it.
    pub fn then(mut self, next: Self) -> Self {
        self.segments.extend(next.segments);
        self
    }

    /// The schedule laid over a stage. A stage that is shorter than the segments cuts them off; [`Timeline::is_cut`] tells. Where no
    /// segment takes the rest, the last value holds.
    pub fn over(&self, stage: StageLength) -> Timeline {
        let fixed: u64 = self.segments.iter().filter_map(|&(_, span)| stage.steps_of(span)).sum();
        let rest = stage.steps.saturating_sub(fixed);
        let mut start = 0;
        let segments = self.segments.iter().map(|(curve, span)| {
            let end = start + stage.steps_of(*span).unwrap_or(rest);
            let segment = Segment { curve: Arc::clone(curve), start, end };
            start = end;
            segment
        });
        Timeline { segments: segments.collect(), steps: stage.steps }
    }
}

/// A schedule over the steps of one stage.
#[derive(Clone, Debug)]
pub struct Timeline {
    segments: Vec<Segment>,
    steps: u64,
}

#[derive(Clone, Debug)]
struct Segment {
    curve: Arc<dyn Curve>,
    start: u64,
    end: u64,
}

impl Timeline {
    /// The value once `step` steps are done: at 0 the first value, from the end of the last segment on the last value. Where two
    /// segments meet, the second one counts.
    pub fn at(&self, step: u64) -> f64 {
        let last = self.segments.len() - 1;
        let current = self.segments.iter().position(|segment| step < segment.end).unwrap_or(last);
        let Segment { curve, start, end } = &self.segments[current];
        if step >= *end { curve.at(1.0) } else { curve.at((step - start) as f64 / (end - start) as f64) }
    }

    /// The value when the stage is done.
    pub fn end(&self) -> f64 {
        self.at(self.steps)
    }

    /// Whether the stage ends before the last segment does, so that its last value is never met.
    pub fn is_cut(&self) -> bool {
        self.segments.iter().any(|segment| segment.end > self.steps)
    }
}

/// A number that may change while its stage runs.
#[derive(Clone, Debug)]
pub struct Numbers(pub Schedule);

impl Parameter for Numbers {
    fn kind() -> Kind {
        Kind::schedule(Kind::Number)
    }

    fn read(value: &Value) -> Result<Self> {
        Schedule::read(value).map(Self)
    }
}

/// A share that may change while its stage runs.
#[derive(Clone, Debug)]
pub struct Ratios(pub Schedule);

impl Parameter for Ratios {
    fn kind() -> Kind {
        Kind::schedule(Kind::Ratio)
    }

    fn read(value: &Value) -> Result<Self> {
        Schedule::read(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shelf::Ends;
    use proptest::prelude::*;

    const STAGE: StageLength = StageLength { steps: 1000, steps_per_epoch: 100 };

    /// Every curve that goes somewhere.
    fn movers(from: f64, to: f64) -> [Box<dyn Curve>; 3] {
        [
            Box::new(Linear { ends: Ends { from, to } }),
            Box::new(Cubic { ends: Ends { from, to } }),
            Box::new(Cosine { ends: Ends { from, to } }),
        ]
    }

    proptest! {
        /// Ends are exact to the bit, and everything between lies between.
        #[test]
        fn curves_meet_their_ends(from in -10f64..10.0, to in -10f64..10.0, x in 0f64..=1.0) {
            for curve in movers(from, to) {
                prop_assert_eq!(curve.at(0.0).to_bits(), from.to_bits(), "{:?}", curve);
                prop_assert_eq!(curve.at(1.0).to_bits(), to.to_bits(), "{:?}", curve);
                prop_assert!((from.min(to)..=from.max(to)).contains(&curve.at(x)), "{:?} at {}", curve, x);
            }
            prop_assert_eq!(Constant { value: Level(from) }.at(x), from);
            prop_assert_eq!(Hold { value: Level(from) }.at(x), from);
        }

        /// Every step has a value, however the segments add up to the stage.
        #[test]
        fn every_step_has_a_value(steps in 0u64..200, first in 0u64..150, share in 0f64..=1.0, step in 0u64..400) {
            let schedule = Schedule::new(Linear { ends: Ends { from: 0.0, to: 1.0 } }, Span::Steps(first))
                .then(Schedule::new(Hold { value: Level(1.0) }, Span::Rest))
                .then(Schedule::new(Cosine { ends: Ends { from: 1.0, to: 0.0 } }, Span::Share(share)));
            let timeline = schedule.over(StageLength { steps, steps_per_epoch: 7 });
            prop_assert!((0.0..=1.0).contains(&timeline.at(step)));
        }
    }

    /// Zhu & Gupta's formula, by hand: 0.75 * (1 - (1 - t)^3), and half of a cosine.
    #[test]
    fn curves_follow_their_formulas() {
        let cubic = Cubic { ends: Ends { from: 0.0, to: 0.75 } };
        assert_eq!([cubic.at(0.25), cubic.at(0.5)], [0.75 * (1.0 - 0.421875), 0.75 * 0.875]);
        assert_eq!(Linear { ends: Ends { from: 2.0, to: 4.0 } }.at(0.25), 2.5);
        assert!((Cosine { ends: Ends { from: 1.0, to: 0.0 } }.at(0.5) - 0.5).abs() < 1e-15);
        assert!((Cosine { ends: Ends { from: 1.0, to: 0.0 } }.at(1.0 / 3.0) - 0.75).abs() < 1e-15);
    }

    #[test]
    fn a_learning_rate_warms_up_and_decays() {
        let rate = Schedule::new(Linear { ends: Ends { from: 0.0, to: 2e-4 } }, Span::Steps(50))
            .then(Schedule::new(Linear { ends: Ends { from: 2e-4, to: 0.0 } }, Span::Rest))
            .over(STAGE);
        assert_eq!([rate.at(0), rate.at(25), rate.at(50), rate.at(525), rate.at(1000)], [0.0, 1e-4, 2e-4, 1e-4, 0.0]);
        assert_eq!(rate.end(), 0.0);
        assert!(!rate.is_cut());
    }

    #[test]
    fn spans_are_steps_epochs_or_shares() {
        let schedule = Schedule::new(Hold { value: Level(1.0) }, Span::Epochs(2.5))
            .then(Schedule::new(Hold { value: Level(2.0) }, Span::Rest))
            .then(Schedule::new(Hold { value: Level(3.0) }, Span::Share(0.25)));
        let timeline = schedule.over(STAGE);
        assert_eq!([0, 249, 250, 749, 750, 2000].map(|step| timeline.at(step)), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn a_short_stage_cuts_its_schedule_and_says_so() {
        let schedule = Schedule::new(Linear { ends: Ends { from: 0.0, to: 1.0 } }, Span::Steps(50)).then(Schedule::constant(1.0));
        let timeline = schedule.over(StageLength { steps: 20, steps_per_epoch: 20 });
        assert!(timeline.is_cut());
        assert_eq!(timeline.end(), 0.4);
    }

    #[test]
    fn the_last_value_holds() {
        let timeline = Schedule::new(Linear { ends: Ends { from: 0.0, to: 1.0 } }, Span::Steps(10)).over(STAGE);
        assert_eq!([timeline.at(5), timeline.at(10), timeline.at(500)], [0.5, 1.0, 1.0]);
    }
}

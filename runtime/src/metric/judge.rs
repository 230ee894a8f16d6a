//! Whether a `require` is met, and how sure that is.
//!
//! A bar is judged by the interval of the difference of its two sides over bootstrapped data, not by the difference measured once:
//! where the interval straddles zero, this much data does not decide.

use sparsec_compiler::{Call, Comparison, Requirement};

use super::{Bootstrap, Interval, Scores};
use crate::report::{Bar, Verdict};
use crate::{Fault, Result};

/// What a metric of a requirement came to.
#[derive(Clone, Debug)]
pub enum Measurement {
    /// A score, with the counts that it is made of.
    Rate(Scores),
    /// A number in base units that is taken as it is: seconds, bytes, a share.
    Exact(f64),
}

/// A requirement with everything it needs measured.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    requirement: &'a Requirement,
    measured: Vec<(&'a Call, Measurement)>,
}

impl<'a> Judgement<'a> {
    /// Measures every metric of `requirement`, each once.
    ///
    /// # Errors
    /// The first error of `measure`.
    pub fn new(requirement: &'a Requirement, mut measure: impl FnMut(&Call) -> Result<Measurement>) -> Result<Self> {
        let mut measured: Vec<(&Call, Measurement)> = Vec::new();
        for call in requirement.left.metrics().into_iter().chain(requirement.right.metrics()) {
            if !measured.iter().any(|(known, _)| *known == call) {
                measured.push((call, measure(call)?));
            }
        }
        Ok(Self { requirement, measured })
    }

    /// The verdict.
    ///
    /// # Errors
    /// When a side is no number, such as a rate divided by a rate of zero.
    pub fn verdict(&self, bootstrap: &Bootstrap) -> Result<Verdict> {
        let rates: Vec<&Scores> = self.measured.iter().filter_map(|(_, measurement)| measurement.scores()).collect();
        let (measured, bar) = self.sides(&rates.iter().map(|scores| scores.rate()).collect::<Vec<_>>())?;
        if !(measured.is_finite() && bar.is_finite()) {
            return Err(Fault::running(format!("a side of `{}` is no number: {measured} and {bar}", self.requirement))
                .help("compare with `a <= factor * b` instead of dividing"));
        }
        let difference = bootstrap.paired(&rates, |rates| self.sides(rates).map(|(left, right)| left - right))?;
        Ok(Verdict {
            text: self.requirement.to_string(),
            measured,
            bar,
            difference: (!rates.is_empty()).then_some((difference.low, difference.high)),
            outcome: outcome(self.requirement.comparison, difference),
        })
    }

    /// Both sides, with `rates` for the measured error rates, in their order.
    fn sides(&self, rates: &[f64]) -> Result<(f64, f64)> {
        let mut value = |call: &Call| {
            let mut rates = rates.iter();
            for (known, measurement) in &self.measured {
                let value = match measurement {
                    Measurement::Rate(_) => rates.next().copied(),
                    Measurement::Exact(value) => Some(*value),
                };
                if *known == call {
                    return value.ok_or_else(|| Fault::internal(format!("no rate was given for `{call}`")));
                }
            }
            Err(Fault::internal(format!("`{call}` was not measured")))
        };
        Ok((self.requirement.left.evaluate(&mut value)?, self.requirement.right.evaluate(&mut value)?))
    }
}

impl Measurement {
    fn scores(&self) -> Option<&Scores> {
        match self {
            Self::Rate(scores) => Some(scores),
            Self::Exact(_) => None,
        }
    }
}

/// What the interval of `left - right` says about `left comparison right`.
fn outcome(comparison: Comparison, difference: Interval) -> Bar {
    let straddles = difference.low < 0.0 && difference.high > 0.0;
    match (comparison.holds(difference.low, 0.0), comparison.holds(difference.high, 0.0)) {
        (true, true) => Bar::Met,
        (false, false) if !straddles => Bar::Missed,
        _ => Bar::Undecided,
    }
}

//! How sure a score is: percentile bootstrap over utterances (Bisani and Ney, *Bootstrap estimates for confidence intervals in ASR
//! performance evaluation*, ICASSP 2004).
//!
//! Utterances are drawn with replacement as many times as there are. Systems compared are drawn *paired*: the same utterances for
//! all, so that an utterance that is hard for all does not blur their difference.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Edits, Scores};
use crate::report::Bar;
use crate::{Fault, Result};

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How intervals are drawn; the default is what every report of this project uses.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// Data sets drawn.
    pub resamples: usize,
    /// Share of them that the interval holds, 0 to 1.
    pub confidence: f64,
    /// Seed of the draw: the same seed, the same interval.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, confidence: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// The interval of a data set's rate.
    pub fn interval(&self, scores: &Scores) -> Interval {
        self.draw([scores.utterances()], |[rate]| rate)
    }

    /// The interval of any function of the rates of several systems on the same utterances.
    fn draw<const N: usize>(&self, systems: [&[Edits]; N], statistic: impl Fn([f64; N]) -> f64) -> Interval {
        let utterances = systems.iter().map(|edits| edits.len()).min().unwrap_or(0);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut values: Vec<f64> = (0..self.resamples.max(1))
            .map(|_| {
                let mut totals = [(0usize, 0usize); N];
                for _ in 0..utterances {
                    let at = below(&mut rng, utterances);
                    for (total, edits) in totals.iter_mut().zip(systems) {
                        total.0 += edits[at].errors();
                        total.1 += edits[at].reference;
                    }
                }
                statistic(totals.map(|(errors, reference)| errors as f64 / reference.max(1) as f64))
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) }
    }
}

/// A bar of the form `left <= factor * right + offset`, measured: both sides are scores on the same utterances.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// Rate of the left side.
    pub left: f64,
    /// What the left side must not exceed.
    pub bar: f64,
    /// The paired interval of `left - bar`.
    pub difference: Interval,
}

impl Comparison {
    /// Compares `left` with `factor * right + offset`; without `right`, with `offset` alone.
    ///
    /// # Errors
    /// When the two sides were not scored on the same references.
    pub fn new(bootstrap: &Bootstrap, left: &Scores, right: Option<&Scores>, factor: f64, offset: f64) -> Result<Self> {
        let (bar, difference) = match right {
            None => (offset, bootstrap.draw([left.utterances()], |[rate]| rate - offset)),
            Some(right) => {
                let tokens = |scores: &Scores| scores.utterances().iter().map(|edits| edits.reference).collect::<Vec<_>>();
                if tokens(left) != tokens(right) {
                    return Err(Fault::internal("the two sides of a comparison were scored on different data"));
                }
                let sides = [left.utterances(), right.utterances()];
                (factor * right.rate() + offset, bootstrap.draw(sides, |[left, right]| left - (factor * right + offset)))
            }
        };
        Ok(Self { left: left.rate(), bar, difference })
    }

    /// Whether the bar is met; undecided if the interval of the difference straddles it.
    pub fn outcome(&self) -> Bar {
        if self.difference.high <= 0.0 {
            Bar::Met
        } else if self.difference.low > 0.0 {
            Bar::Missed
        } else {
            Bar::Undecided
        }
    }
}

/// A number below `bound`, the same on every machine.
fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

/// The `share` quantile of `sorted`, interpolated.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

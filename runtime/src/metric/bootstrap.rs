//! How sure a score is: percentile bootstrap over utterances (Bisani and Ney, *Bootstrap estimates for confidence intervals in ASR
//! performance evaluation*, ICASSP 2004).
//!
//! Utterances are drawn with replacement as many times as there are. Systems compared are drawn *paired*: the same utterances for
//! all, so that an utterance that is hard for all does not blur their difference.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Scores, sums};
use crate::Result;

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
        self.paired(&[scores], |rates| Ok(rates[0])).expect("reading a rate does not fail")
    }

    /// The interval of a function of the rates of several systems. Systems scored on the same references are drawn together.
    ///
    /// # Errors
    /// The first error of `statistic`.
    pub fn paired(&self, systems: &[&Scores], mut statistic: impl FnMut(&[f64]) -> Result<f64>) -> Result<Interval> {
        let data = group(systems);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut rates = vec![0.0; systems.len()];
        let mut values = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples.max(1) {
            for members in &data {
                resample(systems, members, &mut rng, &mut rates);
            }
            values.push(statistic(&rates)?);
        }
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Ok(Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) })
    }
}

/// The systems by the data that they were scored on.
fn group(systems: &[&Scores]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, system) in systems.iter().enumerate() {
        match groups.iter_mut().find(|members| systems[members[0]].references == system.references) {
            Some(members) => members.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Draws rows for `members`, the same for all, and writes their values.
fn resample(systems: &[&Scores], members: &[usize], rng: &mut ChaCha8Rng, rates: &mut [f64]) {
    let rows = systems[members[0]].rows.len();
    let drawn: Vec<usize> = (0..rows).map(|_| below(rng, rows)).collect();
    for &member in members {
        let Scores { rows, value, .. } = systems[member];
        rates[member] = value(&sums(drawn.iter().map(|&row| &rows[row])));
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

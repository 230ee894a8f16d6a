//! The shelf of metrics: error rates of what a model said against what it should have said.
//!
//! A metric counts the edits of one utterance; the rate of a data set is all its edits over all its reference tokens, not the mean
//! of the utterances' rates. The counts of every utterance are kept, for intervals and paired comparisons are drawn from them.

mod bootstrap;
pub mod cer;
mod judge;
mod normalize;
pub mod wer;

use std::fmt::Debug;
use std::ops::AddAssign;

pub use bootstrap::{Bootstrap, Interval};
pub use cer::Cer;
pub use judge::{Judgement, Measurement};
pub use normalize::Normalization;
pub use wer::Wer;

use crate::shelf::{DataRef, Item, ModelRef, Shelf};
use crate::{Fault, Result, report, row};

/// Counts the edits of one utterance, from the reference to the hypothesis.
pub type Count = fn(&str, &str) -> Edits;

/// A metric as a recipe calls it: one file of this folder, one row of [`METRICS`].
pub trait Metric: Debug + Send + Sync {
    /// The model to score.
    fn model(&self) -> &ModelRef;

    /// The rows to score it on.
    fn data(&self) -> &DataRef;

    /// What texts are made alike before they are compared.
    fn normalization(&self) -> Normalization;

    /// How edits are counted.
    fn count(&self) -> Count;
}

/// Every metric.
pub static METRICS: Shelf<dyn Metric> = Shelf::new("metric", &[row!(dyn Metric, Wer), row!(dyn Metric, Cer)]);

/// The fewest edits that turn a reference into a hypothesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Tokens of the reference said as something else.
    pub substitutions: usize,
    /// Tokens of the reference not said.
    pub deletions: usize,
    /// Tokens said that the reference lacks.
    pub insertions: usize,
    /// Tokens of the reference.
    pub reference: usize,
}

impl Edits {
    /// All edits.
    pub fn errors(&self) -> usize {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors over reference tokens; above 1 where more is said than asked for. Without reference tokens, the number of errors.
    pub fn rate(&self) -> f64 {
        self.errors() as f64 / self.reference.max(1) as f64
    }

    /// Levenshtein distance between token sequences, in memory of one row (Wagner and Fischer, 1974). Among equally few edits it
    /// counts those with the fewest substitutions, so that most tokens are right.
    fn between<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Self {
        // `best[j]`: (edits, substitutions among them) from the reference so far to the first j tokens of the hypothesis.
        let mut best: Vec<(usize, usize)> = (0..=hypothesis.len()).map(|j| (j, 0)).collect();
        for (i, expected) in reference.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut best[0], (i + 1, 0));
            for (j, said) in hypothesis.iter().enumerate() {
                let differs = usize::from(expected != said);
                let kept = (diagonal.0 + differs, diagonal.1 + differs);
                let deleted = (best[j + 1].0 + 1, best[j + 1].1);
                let inserted = (best[j].0 + 1, best[j].1);
                diagonal = std::mem::replace(&mut best[j + 1], kept.min(deleted).min(inserted));
            }
        }
        let (edits, substitutions) = best[hypothesis.len()];
        // Deletions and insertions differ by the difference of the lengths.
        let unpaired = edits - substitutions;
        let deletions = (unpaired + reference.len() - hypothesis.len()) / 2;
        Self { substitutions, deletions, insertions: unpaired - deletions, reference: reference.len() }
    }
}

impl AddAssign for Edits {
    fn add_assign(&mut self, more: Self) {
        self.substitutions += more.substitutions;
        self.deletions += more.deletions;
        self.insertions += more.insertions;
        self.reference += more.reference;
    }
}

/// The edits of every utterance of a data set, in its order.
///
/// *Invariant*: there is at least one reference token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scores {
    utterances: Vec<Edits>,
}

impl Scores {
    /// Scores `(reference, hypothesis)` pairs.
    ///
    /// # Errors
    /// When the references hold no token, for then no rate exists.
    pub fn new<'a>(
        count: Count,
        normalization: Normalization,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let utterances: Vec<Edits> = pairs
            .into_iter()
            .map(|(reference, hypothesis)| count(&normalization.apply(reference), &normalization.apply(hypothesis)))
            .collect();
        if utterances.iter().all(|edits| edits.reference == 0) {
            return Err(Fault::input("no error rate is defined: there is not one word in the references")
                .help("is the text column of the manifest the right one?"));
        }
        Ok(Self { utterances })
    }

    /// The edits of every utterance.
    pub fn utterances(&self) -> &[Edits] {
        &self.utterances
    }

    /// The score as a report states it, under the names that the recipe gives `metric` and `data`.
    pub fn record(&self, metric: &str, data: &str, bootstrap: &Bootstrap) -> report::Score {
        let Interval { low, high } = bootstrap.interval(self);
        report::Score {
            metric: metric.to_owned(),
            data: data.to_owned(),
            value: self.rate(),
            low,
            high,
            rows: self.utterances.len(),
            words: (metric == Wer::NAME).then(|| self.total().reference),
        }
    }

    /// Whether `other` was scored on the same data, as far as the references' lengths tell.
    fn same_references(&self, other: &Self) -> bool {
        self.utterances.iter().map(|edits| edits.reference).eq(other.utterances.iter().map(|edits| edits.reference))
    }

    /// All edits together.
    pub fn total(&self) -> Edits {
        let mut total = Edits::default();
        self.utterances.iter().for_each(|&edits| total += edits);
        total
    }

    /// Errors over reference tokens of the whole data set.
    pub fn rate(&self) -> f64 {
        self.total().rate()
    }
}

#[cfg(test)]
mod tests;

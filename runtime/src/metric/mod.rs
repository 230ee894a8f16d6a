//! The shelf of metrics: error rates of what a model said against what it should have said.
//!
//! A metric counts the edits of one utterance; the rate of a data set is all its edits over all its reference tokens, not the mean
//! of the utterances' rates. The counts of every utterance are kept, for intervals and paired comparisons are drawn from them.

pub mod bootstrap;
mod cer;
pub mod normalize;
mod wer;

use std::iter::Sum;

pub use bootstrap::{Bootstrap, Comparison, Interval};
pub use normalize::Normalization;

use crate::{Fault, Result};

/// A metric: one file of this folder, one row of [`METRICS`].
pub trait Metric: Sync {
    /// The word in a recipe, also this file's stem.
    fn word(&self) -> &'static str;

    /// What the rate is a share of: `words`.
    fn tokens(&self) -> &'static str;

    /// The edits from `reference` to `hypothesis`, both already normalized.
    fn edits(&self, reference: &str, hypothesis: &str) -> Edits;
}

/// Every metric.
pub static METRICS: [&dyn Metric; 2] = [&wer::Wer, &cer::Cer];

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

impl Sum for Edits {
    fn sum<I: Iterator<Item = Self>>(edits: I) -> Self {
        edits.fold(Self::default(), |a, b| Self {
            substitutions: a.substitutions + b.substitutions,
            deletions: a.deletions + b.deletions,
            insertions: a.insertions + b.insertions,
            reference: a.reference + b.reference,
        })
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
        metric: &dyn Metric,
        normalization: Normalization,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let utterances: Vec<Edits> = pairs
            .into_iter()
            .map(|(reference, hypothesis)| metric.edits(&normalization.apply(reference), &normalization.apply(hypothesis)))
            .collect();
        if utterances.iter().all(|edits| edits.reference == 0) {
            return Err(Fault::input(format!("`{}` is not defined: the references hold no {}", metric.word(), metric.tokens()))
                .help("is the text column of the manifest the right one?"));
        }
        Ok(Self { utterances })
    }

    /// The edits of every utterance.
    pub fn utterances(&self) -> &[Edits] {
        &self.utterances
    }

    /// All edits together.
    pub fn total(&self) -> Edits {
        self.utterances.iter().copied().sum()
    }

    /// Errors over reference tokens of the whole data set.
    pub fn rate(&self) -> f64 {
        self.total().rate()
    }
}

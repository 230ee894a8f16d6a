//! The shelf of metrics: what a model said, or how likely it found what it should have said, as one number.
//!
//! A metric counts something about one row, and the counts of rows add up: the value of a data set is a function of their sums, not
//! the mean of the rows' values. The counts of every row are kept, for intervals and paired comparisons are drawn from them.

mod answer;
mod bleu;
mod bootstrap;
pub mod cer;
mod chrf;
mod exact_match;
mod judge;
mod normalize;
mod perplexity;
mod runs;
pub mod wer;

use std::fmt::Debug;
use std::sync::Arc;

use sparsec_compiler::{Call, Kind, Word};

pub use answer::Answer;
pub use bleu::Bleu;
pub use bootstrap::{Bootstrap, Interval};
pub use cer::Cer;
pub use chrf::Chrf;
pub use exact_match::ExactMatch;
pub use judge::{Judgement, Measurement};
pub use normalize::Normalization;
pub use perplexity::Perplexity;
pub use wer::Wer;

use crate::report::Unit;
use crate::shelf::{DataRef, Item, ModelRef, Shelf};
use crate::{Fault, Result, report, row};

/// What one row contributes. The counts of rows add up; the last one is the size of the reference, which is what the others are
/// measured against.
pub type Counts = Vec<f64>;

/// From the sums of counts to the value of a metric.
pub type Value = fn(&[f64]) -> f64;

/// A metric as a recipe calls it: one file of this folder, one row of [`SHARES`] or [`NUMBERS`].
pub trait Metric: Debug + Send + Sync {
    /// The model to score.
    fn model(&self) -> &ModelRef;

    /// The rows to score it on.
    fn data(&self) -> &DataRef;

    /// What is looked at.
    fn sees(&self) -> Sees<'_>;

    /// The value of a data set.
    fn value(&self) -> Value {
        share
    }

    /// How the score is told apart from one of the same word with other options; nothing for the usual ones.
    fn variant(&self) -> Option<String>;
}

/// Counts something about the reference of a row and what was said to it.
pub type CountTexts<'a> = Box<dyn Fn(&str, &str) -> Counts + 'a>;

/// What a metric looks at.
pub enum Sees<'a> {
    /// What the model says to a row.
    Text(CountTexts<'a>),
    /// How likely the model finds the reference: the negative logarithm of its likelihood, and its tokens, are the counts.
    Likelihood,
}

/// Every metric whose value is a share.
pub static SHARES: Shelf<dyn Metric> = Shelf::new(
    "metric",
    &[row!(dyn Metric, Wer), row!(dyn Metric, Cer), row!(dyn Metric, ExactMatch), row!(dyn Metric, Bleu), row!(dyn Metric, Chrf)],
);

/// Every metric whose value is a number of another kind.
pub static NUMBERS: Shelf<dyn Metric> = Shelf::new("metric", &[row!(dyn Metric, Perplexity)]);

/// Every metric's word.
pub fn words() -> impl Iterator<Item = Word> {
    SHARES.metrics(&Kind::Ratio).chain(NUMBERS.metrics(&Kind::Number))
}

/// A metric that was called, and how a score of it is reported.
#[derive(Debug)]
pub struct Called {
    word: String,
    /// The metric.
    pub metric: Arc<dyn Metric>,
    unit: Unit,
}

/// The metric that `call` calls.
///
/// # Errors
/// Arguments that the metric refuses.
pub fn make(call: &Call) -> Result<Called> {
    let (metric, unit) = match NUMBERS.names().any(|name| name == call.word) {
        true => (NUMBERS.make(call)?, Unit::Number),
        false => (SHARES.make(call)?, Unit::Share),
    };
    Ok(Called { word: call.word.clone(), metric, unit })
}

impl Called {
    /// What its scores are called: the word, and the options that are not the usual ones.
    pub fn name(&self) -> String {
        self.metric.variant().map_or(self.word.clone(), |variant| format!("{}({variant})", self.word))
    }

    /// The scores of rows that count `counts` and have these references.
    ///
    /// # Errors
    /// As [`Scores::new`].
    pub fn scores<'a>(&self, counts: Vec<Counts>, references: impl IntoIterator<Item = &'a str>) -> Result<Scores> {
        Scores::new(counts, self.metric.value(), references)
    }

    /// The score as a report states it, with the name that `data` has there.
    pub fn record(&self, scores: &Scores, data: &str, bootstrap: &Bootstrap) -> report::Score {
        let Interval { low, high } = bootstrap.interval(scores);
        report::Score {
            metric: self.name(),
            unit: self.unit,
            data: data.to_owned(),
            value: scores.rate(),
            low,
            high,
            rows: scores.rows.len(),
            words: (self.word == Wer::NAME).then(|| scores.totals().last().map_or(0, |&words| words as usize)),
        }
    }
}

/// The first count over the last.
pub fn share(counts: &[f64]) -> f64 {
    counts[0] / counts[counts.len() - 1].max(1.0)
}

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

    /// Errors and reference tokens. Their [`share`] is above 1 where more is said than asked for.
    pub fn counts(&self) -> Counts {
        vec![self.errors() as f64, self.reference as f64]
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

/// The counts of every row of a data set, in its order.
///
/// *Invariant*: all rows have as many counts, and the sum of the last ones is not zero.
#[derive(Clone, Debug)]
pub struct Scores {
    rows: Vec<Counts>,
    value: Value,
    /// BLAKE3 of the references: scores of the same data are compared row by row.
    references: blake3::Hash,
}

impl Scores {
    /// The scores of rows with these references.
    ///
    /// # Errors
    /// When the references hold no token, for then there is no value.
    pub fn new<'a>(rows: Vec<Counts>, value: Value, references: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        if rows.iter().filter_map(|counts| counts.last()).sum::<f64>() == 0.0 {
            return Err(Fault::input("no score is defined: there is not one word in the references")
                .help("is the text column of the manifest the right one?"));
        }
        let mut hasher = blake3::Hasher::new();
        for reference in references {
            hasher.update(&(reference.len() as u64).to_le_bytes()).update(reference.as_bytes());
        }
        Ok(Self { rows, value, references: hasher.finalize() })
    }

    /// Scores `(reference, said)` pairs by `count`.
    ///
    /// # Errors
    /// As [`Scores::new`].
    pub fn of_texts<'a>(
        count: impl Fn(&str, &str) -> Counts,
        value: Value,
        pairs: impl IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
    ) -> Result<Self> {
        let pairs = pairs.into_iter();
        let rows = pairs.clone().map(|(reference, said)| count(reference, said)).collect();
        Self::new(rows, value, pairs.map(|(reference, _)| reference))
    }

    /// The sums of all counts.
    pub fn totals(&self) -> Counts {
        sums(self.rows.iter())
    }

    /// The value of the whole data set.
    pub fn rate(&self) -> f64 {
        (self.value)(&self.totals())
    }
}

/// The sums of the counts of `rows`.
fn sums<'a>(mut rows: impl Iterator<Item = &'a Counts>) -> Counts {
    let mut sums = rows.next().cloned().unwrap_or_default();
    rows.for_each(|counts| sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count));
    sums
}

#[cfg(test)]
mod tests;

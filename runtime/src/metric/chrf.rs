//! `chrf`: how many runs of characters a translation shares with the reference.

use super::runs::Runs;
use super::{Counts, Metric, Sees, Value};
use crate::shelf::{DataRef, ModelRef};
use crate::word;

/// Characters of the longest run.
const ORDER: usize = 6;
/// How much more recall counts than precision, squared.
const BETA_SQUARED: f64 = 4.0;

word! {
    /// chrF2 of translations, 0 to 100 %, as sacreBLEU computes it: runs of one to six characters without spaces, case counts.
    pub struct Chrf = "chrf" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {}
}

impl Metric for Chrf {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn data(&self) -> &DataRef {
        &self.data
    }

    fn sees(&self) -> Sees<'_> {
        Sees::Text(Box::new(counts))
    }

    fn value(&self) -> Value {
        value
    }

    fn variant(&self) -> Option<String> {
        None
    }
}

/// Of runs of six characters down to one: all of `said`, those that it shares with `reference`, and all of `reference`.
pub(super) fn counts(reference: &str, said: &str) -> Counts {
    let characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>();
    let (reference, said) = (characters(reference), characters(said));
    let of_order = |order: usize| {
        let (known, found) = (Runs::of(&reference, order), Runs::of(&said, order));
        // What is said counts only where the reference has a run of this order.
        let all = if known.count() == 0 { 0 } else { found.count() };
        [all, found.shared(&known), known.count()]
    };
    (1..=ORDER).rev().flat_map(of_order).map(|count| count as f64).collect()
}

/// The F-score of precision and recall, each the mean over the orders that both sides have (Popović, WMT 2015).
pub(super) fn value(counts: &[f64]) -> f64 {
    let orders = counts.as_chunks::<3>().0.iter().filter(|[said, _, reference]| *said > 0.0 && *reference > 0.0);
    let shares: Vec<(f64, f64)> = orders.map(|[said, shared, reference]| (shared / said, shared / reference)).collect();
    let mean = |share: fn(&(f64, f64)) -> f64| shares.iter().map(share).sum::<f64>() / shares.len().max(1) as f64;
    let (precision, recall) = (mean(|share| share.0), mean(|share| share.1));
    if precision + recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
}

//! `wer`: the share of words that are wrong.

use super::{Edits, Metric, Normalization, Sees};
use crate::shelf::{DataRef, ModelRef};
use crate::word;

word! {
    /// Word error rate, words being what white space separates: substitutions, deletions and insertions over reference words.
    pub struct Wer = "wer" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {
        /// What texts are made alike before they are compared.
        normalize: Normalization = Normalization::Basic,
    }
}

impl Metric for Wer {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn data(&self) -> &DataRef {
        &self.data
    }

    fn sees(&self) -> Sees<'_> {
        Sees::Text(Box::new(|reference, said| edits(&self.normalize.apply(reference), &self.normalize.apply(said)).counts()))
    }

    fn variant(&self) -> Option<String> {
        self.normalize.variant()
    }
}

/// The edits between the words of two texts.
pub fn edits(reference: &str, hypothesis: &str) -> Edits {
    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }
    Edits::between(&words(reference), &words(hypothesis))
}

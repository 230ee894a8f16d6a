//! `cer`: the share of characters that are wrong.

use super::{Edits, Metric, Normalization, Sees};
use crate::shelf::{DataRef, ModelRef};
use crate::word;

word! {
    /// Character error rate, for languages written without spaces; a run of white space counts as one character.
    pub struct Cer = "cer" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {
        /// What texts are made alike before they are compared.
        normalize: Normalization = Normalization::Basic,
    }
}

impl Metric for Cer {
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

/// The edits between the characters of two texts.
pub fn edits(reference: &str, hypothesis: &str) -> Edits {
    fn characters(text: &str) -> Vec<char> {
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect()
    }
    Edits::between(&characters(reference), &characters(hypothesis))
}

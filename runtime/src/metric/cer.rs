//! `cer`: character error rate, for languages written without spaces; a run of white space counts as one character.

use super::{Edits, Metric};

/// Character error rate.
pub(super) struct Cer;

impl Metric for Cer {
    fn word(&self) -> &'static str {
        "cer"
    }

    fn tokens(&self) -> &'static str {
        "characters"
    }

    fn edits(&self, reference: &str, hypothesis: &str) -> Edits {
        fn characters(text: &str) -> Vec<char> {
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect()
        }
        Edits::between(&characters(reference), &characters(hypothesis))
    }
}

//! `wer`: word error rate, words being what white space separates.

use super::{Edits, Metric};

/// Word error rate.
pub(super) struct Wer;

impl Metric for Wer {
    fn word(&self) -> &'static str {
        "wer"
    }

    fn tokens(&self) -> &'static str {
        "words"
    }

    fn edits(&self, reference: &str, hypothesis: &str) -> Edits {
        fn words(text: &str) -> Vec<&str> {
            text.split_whitespace().collect()
        }
        Edits::between(&words(reference), &words(hypothesis))
    }
}

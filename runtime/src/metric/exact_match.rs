//! `exact_match`: the share of answers that are right.

use super::{Answer, Metric, Sees};
use crate::shelf::{DataRef, Defaulted, ModelRef};
use crate::word;

word! {
    /// Share of rows whose answer is right, taken out of worked texts.
    pub struct ExactMatch = "exact_match" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {
        /// What of a text is the answer: the `whole`, the number behind the `marker` "####" as in GSM8K, or the `last_number`. Commas,
        /// dollar signs and a last period do not count in numbers.
        answer: Answer = Answer::Marker,
    }
}

impl Metric for ExactMatch {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn data(&self) -> &DataRef {
        &self.data
    }

    fn sees(&self) -> Sees<'_> {
        Sees::Text(Box::new(|reference, said| {
            let (wanted, given) = (self.answer.reference(reference), self.answer.said(said));
            vec![f64::from(u8::from(given.is_some() && given == wanted)), 1.0]
        }))
    }

    fn variant(&self) -> Option<String> {
        (self.answer != Answer::Marker).then(|| format!("answer: {}", self.answer.text()))
    }
}

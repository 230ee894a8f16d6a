//! `perplexity`: how many tokens a model hesitates between, on average, where it is to say the reference.

use super::{Metric, Sees, Value};
use crate::shelf::{DataRef, ModelRef};
use crate::word;

word! {
    /// How many tokens the model hesitates between where it is to say the reference.
    ///
    /// The exponential of the mean negative log-likelihood of the reference's tokens, its end among them, each after the right ones
    /// before it. Prompts do not count.
    pub struct Perplexity = "perplexity" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {}
}

impl Metric for Perplexity {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn data(&self) -> &DataRef {
        &self.data
    }

    fn sees(&self) -> Sees<'_> {
        Sees::Likelihood
    }

    fn value(&self) -> Value {
        |counts| (counts[0] / counts[1]).exp()
    }

    fn variant(&self) -> Option<String> {
        None
    }
}

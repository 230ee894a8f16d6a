//! `kl`: the teacher's distribution over the next token, taught as it is ("standard distillation").
//!
//! `T^2 / |A| sum_{t in A} sum_v p_t(v) (log p_t(v) - log p_s(v))` with `p = softmax(logits / T)` and `A` the tokens that count
//! (Hinton et al., arXiv 1503.02531). Logits and labels stand at the same position: the row that predicts the first token of the
//! answer counts, and none that predicts padding.

use candle_core::Tensor;

use super::{Loss, Outputs, expect_teacher};
use crate::{Batch, Result, op, word};

word! {
    /// Divergence of the student's distribution over the next token from the teacher's.
    pub struct Kl = "kl" (
        /// Softens both distributions; 1 leaves them as they are.
        temperature: f64 where "0.01..100" = 1.0,
    ) {}
}

impl Loss for Kl {
    fn needs_teacher(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: &Batch, student: &Outputs, teacher: Option<&Outputs>) -> Result<Tensor> {
        op::kl(&student.logits, &expect_teacher(teacher)?.logits, &batch.labels, self.temperature as f32)
    }
}

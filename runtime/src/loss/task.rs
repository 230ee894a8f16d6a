//! `task`: cross-entropy with the reference tokens, the mean over every token that counts.

use candle_core::Tensor;

use super::{Loss, Outputs};
use crate::{Batch, Result, op, word};

word! {
    /// Cross-entropy with the reference tokens.
    pub struct Task = "task";
}

impl Loss for Task {
    fn needs_teacher(&self) -> bool {
        false
    }

    fn evaluate(&self, batch: &Batch, student: &Outputs, _: Option<&Outputs>) -> Result<Tensor> {
        op::cross_entropy(&student.logits, &batch.labels)
    }
}

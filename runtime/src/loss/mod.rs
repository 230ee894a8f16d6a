//! The shelf of losses: what a loss sees, and the table of them. A recipe adds them up with weights.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{Batch, Result};

/// What one model computed for a batch.
pub struct Outputs {
    /// `[batch, time, vocab]`.
    pub logits: Tensor,
    /// Raw output `[batch, positions or time, width]` of every transformer block, by module path.
    pub blocks: BTreeMap<String, Tensor>,
}

/// A term of the training objective.
pub trait Loss: Send + Sync {
    /// Whether `evaluate` reads the teacher's outputs.
    fn needs_teacher(&self) -> bool;

    /// The scalar value, differentiable with respect to the student's outputs only. `teacher` is there whenever
    /// [`Loss::needs_teacher`] says so.
    fn evaluate(&self, batch: &Batch, student: &Outputs, teacher: Option<&Outputs>) -> Result<Tensor>;
}

//! The shelf of losses: what a loss sees, and the table of them. A recipe adds them up with weights.
//!
//! Every loss keeps these promises, and the contract tests below hold every row of the table to them: it is zero where the student
//! says what it is compared with, its gradient agrees with finite differences, and value and gradients agree with a fixture that
//! PyTorch computed.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::shelf::Shelf;
use crate::{Batch, Fault, Result, row, shelved};

mod kl;
mod squarehead;
mod task;

pub use kl::Kl;
pub use squarehead::{Blocks, Counted, SquareHead};
pub use task::Task;

/// Every loss.
pub static LOSSES: Shelf<dyn Loss> = Shelf::new("loss", &[row!(dyn Loss, Task), row!(dyn Loss, Kl), row!(dyn Loss, SquareHead)]);

shelved! { dyn Loss, LOSSES }

/// What one model computed for a batch.
pub struct Outputs {
    /// `[batch, time, vocab]`.
    pub logits: Tensor,
    /// Raw output `[batch, positions or time, width]` of every transformer block, by module path.
    pub blocks: BTreeMap<String, Tensor>,
}

/// A term of the training objective.
pub trait Loss: std::fmt::Debug + Send + Sync {
    /// Whether `evaluate` reads the teacher's outputs.
    fn needs_teacher(&self) -> bool;

    /// The scalar value, differentiable with respect to the student's outputs only. `teacher` is there whenever
    /// [`Loss::needs_teacher`] says so.
    fn evaluate(&self, batch: &Batch, student: &Outputs, teacher: Option<&Outputs>) -> Result<Tensor>;
}

/// The teacher's outputs, for a loss that said that it needs them.
fn expect_teacher(teacher: Option<&Outputs>) -> Result<&Outputs> {
    teacher.ok_or_else(|| Fault::internal("a loss that needs a teacher was evaluated without one"))
}

#[cfg(test)]
mod tests;

//! The shelf of pruners: which weights go, and what happens to those that stay.
//!
//! Every pruner keeps these promises, and the contract tests below hold every row of the table to them: the asked share is removed
//! exactly, `round(weights * sparsity)` in all or, where a pattern says so, of every group; the same checkpoint, request and calibration rows give the same masks; what a mask
//! removed stays removed and counts; a weight that is not finite is a fault that names its layer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::shelf::Shelf;
use crate::{Checkpoint, Fault, Result, row, shelved};

mod calibration;
mod hessian;
mod magnitude;
mod rank;
mod sparsegpt;

pub use crate::pattern::Pattern;
pub use calibration::RowCalibration;
pub use magnitude::{Magnitude, Scope};
pub use sparsegpt::SparseGpt;
pub(crate) use sparsegpt::transformer_block;

/// Every pruner.
pub static PRUNERS: Shelf<dyn Pruner> = Shelf::new("pruner", &[row!(dyn Pruner, Magnitude), row!(dyn Pruner, SparseGpt)]);
shelved! { dyn Pruner, PRUNERS }

/// What a pruner is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Module paths of the linear layers, in the order of the forward pass.
    pub layers: &'a [String],
    /// Share of weights to remove, 0 to 1. Weights that a mask already removes stay removed and count.
    pub sparsity: f64,
    /// Where zeros may lie.
    pub pattern: Pattern,
}

impl Request<'_> {
    /// The request with a share that makes sense.
    fn checked(&self) -> Result<&Self> {
        if !(0.0..=1.0).contains(&self.sparsity) {
            return Err(Fault::input(format!("a sparsity of {} is not between 0 and 1", self.sparsity)));
        }
        self.pattern.check(self.sparsity).map(|()| self)
    }

    /// Weights to remove among `weights`.
    fn removals(&self, weights: usize) -> usize {
        (weights as f64 * self.sparsity).round() as usize
    }
}

/// What a pruner did to one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrunedLayer {
    /// The module path.
    pub path: String,
    /// Share of its weights that its mask now removes.
    pub sparsity: f64,
    /// `|y - y'|^2 / |y|^2` of the layer's outputs on the calibration rows; nothing where the method does not look at data.
    pub relative_error: Option<f64>,
    /// What the user should know: damping that had to be raised, inputs that never fired.
    pub notes: Vec<String>,
}

/// Runs the model, as it now stands in `checkpoint`, over the calibration rows and sums what goes into each layer.
pub trait Calibration {
    /// `2 / tokens * sum x^T x`, `[in, in]` row-major FP32, for each of `layers`, inputs from the model as it is now. Layers that
    /// read the same tensor may share one matrix.
    ///
    /// # Errors
    /// When a layer saw no token or a value that is not finite.
    fn hessians(&mut self, checkpoint: &Checkpoint, layers: &[String]) -> Result<Vec<Arc<[f32]>>>;
}

/// A pruning method.
pub trait Pruner: std::fmt::Debug + Send + Sync {
    /// Whether `prune` needs calibration rows.
    fn needs_calibration(&self) -> bool;

    /// Which weights compete with each other; where it is those of all layers, these are pruned together or not at all.
    fn scope(&self) -> Scope {
        Scope::Uniform
    }

    /// Prunes in place: sets weights and masks of `checkpoint`, and calls `done` with every group of layers that is finished together
    /// (a transformer block, say). A call for the other layers, with the checkpoint that `done` sees, goes on to the same result. A
    /// fault of `done` ends the work at once (an interruption, say).
    ///
    /// # Errors
    /// Weights that are not finite, a Hessian that no damping makes positive definite.
    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        calibration: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
    ) -> Result<()>;
}

#[cfg(test)]
mod tests;

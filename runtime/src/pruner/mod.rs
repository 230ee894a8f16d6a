//! The shelf of pruners: which weights go, and what happens to those that stay.

use crate::{Checkpoint, Result};

/// How the zeros must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Anywhere.
    Unstructured,
}

/// What a pruner is asked for.
pub struct Request<'a> {
    /// Module paths of the linear layers, in the order of the forward pass.
    pub layers: &'a [String],
    /// Share of weights to remove, 0 to 1. Weights that a mask already removes stay removed and count.
    pub sparsity: f64,
    /// Where zeros may lie.
    pub pattern: Pattern,
}

/// Runs the model, as it now stands in `checkpoint`, over the calibration rows and sums what goes into each layer.
pub trait Calibration {
    /// `2 / tokens * sum x^T x`, `[in, in]` row-major FP32, for each of `layers`, inputs from the model as it is now.
    ///
    /// # Errors
    /// When a layer saw no token or a value that is not finite.
    fn hessians(&mut self, checkpoint: &Checkpoint, layers: &[String]) -> Result<Vec<Vec<f32>>>;
}

/// A pruning method.
pub trait Pruner: Send + Sync {
    /// Whether `prune` needs calibration rows.
    fn needs_calibration(&self) -> bool;

    /// Prunes in place: sets weights and masks of `checkpoint`; after each finished layer it calls `done(path)`, whose fault ends
    /// the work at once (an interruption, say).
    ///
    /// # Errors
    /// Weights that are not finite, a Hessian that no damping makes positive definite.
    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        calibration: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &str) -> Result<()>,
    ) -> Result<()>;
}

//! What follows a product and is done to its results while they are in the caches.

use crate::error::{Result, expect_length};
use crate::{Activation, KernelError};

/// `y = residual + activation(x W^T + bias)`; by default neither is there.
///
/// Every format hands its results, a strip at a time, to one function that does this, so that all do the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// A function of each result.
    pub activation: Option<Activation>,
    /// What is added to the results then, `[tokens, rows]` row-major.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// Whether results stay as they are.
    pub(crate) fn is_nothing(&self) -> bool {
        self.activation.is_none() && self.residual.is_none()
    }

    /// Fails unless there is a residual for each of `results` results, or none at all.
    pub(crate) fn check(&self, results: usize) -> Result<()> {
        self.residual.map_or(Ok::<_, KernelError>(()), |residual| expect_length("residuals", residual.len(), results))
    }

    /// The definition: what the result `value` at `at` of `[tokens, rows]` becomes.
    pub fn of(&self, value: f32, at: usize) -> f32 {
        let changed = self.activation.map_or(value, |activation| activation.of(value));
        self.residual.map_or(changed, |residual| residual[at] + changed)
    }
}

//! What follows a product and is done to its results while they are in the caches.

use crate::Activation;
use crate::error::{Result, expect_length};

/// `y = residual + factor * activation(x W^T + bias)`; by default none of them is there.
///
/// Every format hands its results, a strip at a time, to one function that does this, so that all do the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// A function of each result.
    pub activation: Option<Activation>,
    /// What the results are multiplied with then, `[tokens, rows]` row-major.
    pub factor: Option<&'a [f32]>,
    /// What is added to the results at last, `[tokens, rows]` row-major.
    pub residual: Option<&'a [f32]>,
}

impl<'a> Epilogue<'a> {
    /// Whether results stay as they are.
    pub(crate) fn is_nothing(&self) -> bool {
        self.activation.is_none() && self.factor.is_none() && self.residual.is_none()
    }

    /// Fails unless there is a factor and a residual for each of `results` results, or none at all.
    pub(crate) fn check(&self, results: usize) -> Result<()> {
        let check = |what, values: Option<&[f32]>| values.map_or(Ok(()), |values| expect_length(what, values.len(), results));
        check("factors", self.factor)?;
        check("residuals", self.residual)
    }

    /// What follows the first `count` results, and what the others.
    pub(crate) fn split_at(self, count: usize) -> (Self, Self) {
        let split = |values: Option<&'a [f32]>| values.map(|values| values.split_at(count)).unzip();
        let ((factor, factor_after), (residual, residual_after)) = (split(self.factor), split(self.residual));
        (Self { factor, residual, ..self }, Self { factor: factor_after, residual: residual_after, ..self })
    }

    /// The definition: what the result `value` at `at` of `[tokens, rows]` becomes.
    pub fn of(&self, value: f32, at: usize) -> f32 {
        let changed = self.activation.map_or(value, |activation| activation.of(value));
        let scaled = self.factor.map_or(changed, |factor| factor[at] * changed);
        self.residual.map_or(scaled, |residual| residual[at] + scaled)
    }
}

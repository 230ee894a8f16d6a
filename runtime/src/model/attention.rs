//! Multi-head attention with four projections of its own, as Whisper and T5 have it.

use candle_core::Tensor;

use super::Taps;
use super::memory::KeysValues;
use crate::Result;
use crate::linear::{Linear, Then};
use crate::op::Scope;

/// The projections `[heads * depth, width]` of one attention, and the one back.
pub(super) struct Attention {
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) out: Linear,
    pub(super) heads: usize,
    /// What the scores are multiplied with.
    pub(super) scale: f32,
}

impl Attention {
    /// Keys and values of `x`, `[batch, keys, width]`.
    pub(super) fn keys_values(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<KeysValues> {
        KeysValues::new(self.k.forward(x, taps)?, self.v.forward(x, taps)?)
    }

    /// `residual` and what the queries of `x` `[batch, time, width]` find in `memory`, of which they see what `scope` says.
    pub(super) fn forward(
        &self,
        residual: &Tensor,
        x: &Tensor,
        memory: &KeysValues,
        scope: Scope<'_>,
        taps: &mut dyn Taps,
    ) -> Result<Tensor> {
        let queries = self.q.forward(x, taps)?;
        let found = memory.attend(&queries, self.heads, self.scale, scope)?;
        self.out.forward_then(&found, Then::residual(residual), taps)
    }
}

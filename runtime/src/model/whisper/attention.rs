//! Multi-head attention with its four projections.
//!
//! Queries are scaled by `1 / sqrt(width / heads)`; only the keys' projection has no bias.

use candle_core::Tensor;

use crate::Result;
use crate::linear::{Linear, Then};
use crate::model::memory::KeysValues;
use crate::model::{Source, Taps};
use crate::op::{self, Scope};

/// The four projections `[width, width]` of one attention.
pub(super) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
    scale: f32,
}

impl Attention {
    pub(super) fn build(path: &str, width: usize, heads: usize, source: &mut dyn Source) -> Result<Self> {
        Ok(Self {
            q: source.linear(&format!("{path}.q_proj"), width, width, true)?,
            k: source.linear(&format!("{path}.k_proj"), width, width, false)?,
            v: source.linear(&format!("{path}.v_proj"), width, width, true)?,
            out: source.linear(&format!("{path}.out_proj"), width, width, true)?,
            heads,
            scale: ((width / heads) as f32).sqrt().recip(),
        })
    }

    /// Keys and values of `x`, `[batch, keys, width]`.
    pub(super) fn keys_values(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<KeysValues> {
        KeysValues::new(self.k.forward(x, taps)?, self.v.forward(x, taps)?)
    }

    /// `residual` and what the queries of `x` `[batch, time, width]` find in `memory`. If `causal`, the last query sees every key, the one before it
    /// all but one, and so on.
    pub(super) fn forward(
        &self,
        residual: &Tensor,
        x: &Tensor,
        memory: &KeysValues,
        causal: bool,
        taps: &mut dyn Taps,
    ) -> Result<Tensor> {
        let queries = self.q.forward(x, taps)?;
        let scope = memory.scope(Scope { causal, ..Scope::default() });
        let found = op::attention(&queries, &memory.keys, &memory.values, self.heads, self.scale, scope)?;
        self.out.forward_then(&found, Then::residual(residual), taps)
    }
}

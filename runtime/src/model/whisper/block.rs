//! What blocks of the encoder and the decoder have in common: layer norms and the feed-forward part.

use candle_core::Tensor;
use sparsec_kernels::Activation;

use crate::model::{Source, Taps};
use crate::{Result, linear, op};

/// Added to the variance of every layer norm.
const EPSILON: f32 = 1e-5;

/// A layer norm over `width`.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    pub(super) fn build(path: &str, width: usize, source: &mut dyn Source) -> Result<Self> {
        Ok(Self {
            weight: source.tensor(&format!("{path}.weight"), &[width])?,
            bias: source.tensor(&format!("{path}.bias"), &[width])?,
        })
    }

    /// `x: [.., width]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        op::layer_norm(x, &self.weight, Some(&self.bias), EPSILON)
    }
}

/// `x + fc2(gelu(fc1(norm(x))))`, the second half of every block.
pub(super) struct FeedForward {
    norm: Norm,
    layers: linear::FeedForward,
}

impl FeedForward {
    /// The part of the block at `path`, with `hidden` features inside.
    pub(super) fn build(path: &str, width: usize, hidden: usize, source: &mut dyn Source) -> Result<Self> {
        let norm = Norm::build(&format!("{path}.final_layer_norm"), width, source)?;
        let up = source.linear(&format!("{path}.fc1"), hidden, width, true)?;
        let down = source.linear(&format!("{path}.fc2"), width, hidden, true)?;
        Ok(Self { norm, layers: linear::FeedForward { gate: None, up, activation: Activation::Gelu, down } })
    }

    /// `x: [batch, time, width]`, the residual included.
    pub(super) fn forward(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        self.layers.forward(&self.norm.forward(x)?, x, taps)
    }
}

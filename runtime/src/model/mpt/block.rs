//! One transformer block: `x + attention(norm_1(x))`, then `x + feed_forward(norm_2(x))`.

use candle_core::Tensor;
use sparsec_kernels::Activation;

use super::config::Config;
use crate::linear::{FeedForward, Linear, Then};
use crate::model::memory::KeysValues;
use crate::model::{Source, Taps};
use crate::{Result, op};

/// A layer norm.
pub(super) struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    epsilon: f32,
}

impl Norm {
    pub(super) fn build(path: &str, config: &Config, source: &mut dyn Source) -> Result<Self> {
        let mut parameter = |name: &str| source.tensor(&format!("{path}.{name}"), &[config.d_model]);
        let weight = parameter("weight")?;
        let bias = if config.no_bias { None } else { Some(parameter("bias")?) };
        Ok(Self { weight, bias, epsilon: config.layer_norm_epsilon })
    }

    /// `x: [.., width]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        op::layer_norm(x, &self.weight, self.bias.as_ref(), self.epsilon)
    }
}

/// A block with its parameters.
pub(super) struct Block {
    pub(super) path: String,
    norm_1: Norm,
    /// `[3 width, width]`: queries, keys, values.
    qkv: Linear,
    out: Linear,
    norm_2: Norm,
    feed_forward: FeedForward,
    width: usize,
    heads: usize,
    scale: f32,
    /// The bound of queries, keys and values.
    clip: Option<f64>,
}

impl Block {
    pub(super) fn build(config: &Config, layer: usize, source: &mut dyn Source) -> Result<Self> {
        let path = format!("transformer.blocks.{layer}");
        let (width, hidden) = (config.d_model, config.hidden());
        let norm_1 = Norm::build(&format!("{path}.norm_1"), config, source)?;
        let norm_2 = Norm::build(&format!("{path}.norm_2"), config, source)?;
        let mut linear = |name: &str, out, inputs| source.linear(&format!("{path}.{name}"), out, inputs, !config.no_bias);
        Ok(Self {
            norm_1,
            qkv: linear("attn.Wqkv", 3 * width, width)?,
            out: linear("attn.out_proj", width, width)?,
            norm_2,
            feed_forward: FeedForward {
                gate: None,
                up: linear("ffn.up_proj", hidden, width)?,
                activation: Activation::Gelu,
                down: linear("ffn.down_proj", width, hidden)?,
            },
            path,
            width,
            heads: config.n_heads,
            scale: config.softmax_scale(),
            clip: config.clip_qkv(),
        })
    }

    /// `x: [batch, time, width]`, the tokens after those in `past`, where theirs are added.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        past: &mut Option<KeysValues>,
        scope: op::Scope<'_>,
        taps: &mut dyn Taps,
    ) -> Result<Tensor> {
        let mut projected = self.qkv.forward(&self.norm_1.forward(x)?, taps)?;
        if let Some(bound) = self.clip {
            projected = projected.clamp(-bound, bound)?;
        }
        let part = |at: usize| op::columns(&projected, at * self.width, self.width);
        let now = KeysValues::new(part(1)?, part(2)?)?;
        let memory = match past.take() {
            Some(past) => past.extended(&now)?,
            None => now,
        };
        let found = memory.attend(&part(0)?, self.heads, self.scale, scope)?;
        *past = Some(memory);
        let x = self.out.forward_then(&found, Then::residual(x), taps)?;
        self.feed_forward.forward(&self.norm_2.forward(&x)?, &x, taps)
    }
}

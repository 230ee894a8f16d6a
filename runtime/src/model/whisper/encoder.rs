//! The encoder: from log-mel spectrograms to what the decoder attends to.

use candle_core::Tensor;
use sparsec_kernels::Activation;

use super::attention::attention;
use super::block::{FeedForward, Norm};
use super::config::Config;
use crate::model::attention::Attention;
use crate::model::{Source, Taps};
use crate::op::{self, Scope};
use crate::{Fault, Result};

pub(super) struct Encoder {
    conv1: Convolution,
    conv2: Convolution,
    /// `[positions, width]`.
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    mels: usize,
    frames: usize,
}

impl Encoder {
    pub(super) fn build(config: &Config, source: &mut dyn Source) -> Result<Self> {
        let width = config.d_model;
        let positions = config.max_source_positions;
        Ok(Self {
            conv1: Convolution::build("model.encoder.conv1", width, config.num_mel_bins, 1, source)?,
            conv2: Convolution::build("model.encoder.conv2", width, width, 2, source)?,
            positions: source.frozen("model.encoder.embed_positions.weight", &[positions, width])?,
            blocks: (0..config.encoder_layers).map(|layer| Block::build(config, layer, source)).collect::<Result<_>>()?,
            norm: Norm::build("model.encoder.layer_norm", width, source)?,
            mels: config.num_mel_bins,
            frames: 2 * positions,
        })
    }

    /// `features: [batch, mels, frames] -> [batch, positions, width]`.
    pub(super) fn forward(&self, features: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        let (_, mels, frames) = features.dims3()?;
        if (mels, frames) != (self.mels, self.frames) {
            return Err(Fault::input(format!(
                "the feature extractor makes spectrograms [{mels}, {frames}], and the model hears [{}, {}]",
                self.mels, self.frames
            ))
            .help("use the preprocessor_config.json that came with the checkpoint"));
        }
        let halved = self.conv2.forward(&self.conv1.forward(features)?)?;
        let mut hidden = op::add_positions(&halved.transpose(1, 2)?.contiguous()?, &self.positions, 0)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, taps)?;
        }
        self.norm.forward(&hidden)
    }
}

/// A convolution over time, three frames wide, followed by GELU.
struct Convolution {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl Convolution {
    fn build(path: &str, out: usize, inputs: usize, stride: usize, source: &mut dyn Source) -> Result<Self> {
        Ok(Self {
            weight: source.tensor(&format!("{path}.weight"), &[out, inputs, 3])?,
            bias: source.tensor(&format!("{path}.bias"), &[out])?,
            stride,
        })
    }

    /// `x: [batch, in, frames] -> [batch, out, frames / stride]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        op::activate(&op::conv1d(x, &self.weight, &self.bias, self.stride, 1)?, Activation::Gelu)
    }
}

/// One transformer block.
struct Block {
    path: String,
    norm: Norm,
    attention: Attention,
    feed_forward: FeedForward,
}

impl Block {
    fn build(config: &Config, layer: usize, source: &mut dyn Source) -> Result<Self> {
        let path = format!("model.encoder.layers.{layer}");
        let (width, heads) = (config.d_model, config.encoder_attention_heads);
        Ok(Self {
            norm: Norm::build(&format!("{path}.self_attn_layer_norm"), width, source)?,
            attention: attention(&format!("{path}.self_attn"), width, heads, source)?,
            feed_forward: FeedForward::build(&path, width, config.encoder_ffn_dim, source)?,
            path,
        })
    }

    /// `x: [batch, positions, width]`.
    fn forward(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        let normed = self.norm.forward(x)?;
        let memory = self.attention.keys_values(&normed, taps)?;
        let x = self.attention.forward(x, &normed, &memory, Scope::default(), taps)?;
        let hidden = self.feed_forward.forward(&x, taps)?;
        taps.block_output(&self.path, &hidden)?;
        Ok(hidden)
    }
}

//! The decoder: from tokens and the encoder's output to logits, all at once or token by token.
//!
//! Teacher forcing is one step from an empty cache, so that training and decoding are the same code.

use std::any::Any;
use std::sync::Arc;

use candle_core::Tensor;

use super::attention::attention;
use super::block::{FeedForward, Norm};
use super::config::Config;
use crate::batch::Tokens;
use crate::linear::{Dense, Linear};
use crate::model::attention::Attention;
use crate::model::memory::{KeysValues, Origins, Stepped};
use crate::model::{Cache, NoTaps, Source, Taps};
use crate::op::{self, Scope};
use crate::{Fault, Result};

pub(super) struct Decoder {
    /// `[vocab, width]`.
    tokens: Tensor,
    /// `[max positions, width]`.
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

impl Decoder {
    pub(super) fn build(config: &Config, source: &mut dyn Source) -> Result<Self> {
        let (vocab, width) = (config.vocab_size, config.d_model);
        let tokens = source.tensor("model.decoder.embed_tokens.weight", &[vocab, width])?;
        let positions = source.tensor("model.decoder.embed_positions.weight", &[config.max_target_positions, width])?;
        let blocks = (0..config.decoder_layers).map(|layer| Block::build(config, layer, source)).collect::<Result<_>>()?;
        let norm = Norm::build("model.decoder.layer_norm", width, source)?;
        let head = match config.tie_word_embeddings {
            true => Linear::new("proj_out", Arc::new(Dense::new(tokens.clone(), None))),
            false => source.linear("proj_out", vocab, width, false)?,
        };
        Ok(Self { tokens, positions, blocks, norm, head })
    }

    /// An empty cache over `encoded`, `[batch, positions, width]`.
    pub(super) fn start(&self, encoded: &Tensor, taps: &mut dyn Taps) -> Result<DecoderCache> {
        let layer = |block: &Block| Ok(LayerCache { past: None, encoded: block.cross_attention.keys_values(encoded, taps)? });
        let layers = self.blocks.iter().map(layer).collect::<Result<_>>()?;
        let origins = Origins::of(encoded.dim(0)?);
        Ok(DecoderCache { layers, time: 0, origins, workspace: op::Workspace::default() })
    }

    /// The logits `[batch, vocab]` after the last of `tokens`.
    pub(super) fn step(&self, tokens: &Tokens, cache: &mut DecoderCache) -> Result<Tensor> {
        cache.step(tokens.time(), |cache| self.head.forward(&op::last(&self.advance(tokens, cache, &mut NoTaps)?)?, &mut NoTaps))
    }

    /// Feeds `tokens` after what `cache` holds; the normed output `[batch, time, width]` of the last block.
    pub(super) fn advance(&self, tokens: &Tokens, cache: &mut DecoderCache, taps: &mut dyn Taps) -> Result<Tensor> {
        let (batch, time) = (tokens.batch(), tokens.time());
        let longest = self.positions.dim(0)?;
        if time == 0 || cache.time + time > longest {
            return Err(Fault::input(format!(
                "a text of {} tokens does not fit the decoder, which has {longest} positions",
                cache.time + time
            ))
            .help("shorten the text, or cut the recording into shorter utterances"));
        }
        let vectors = op::embedding(&self.tokens, tokens.ids(), &[batch, time])?;
        let mut hidden = op::add_positions(&vectors, &self.positions, cache.time)?;
        for (block, layer) in self.blocks.iter().zip(&mut cache.layers) {
            hidden = block.forward(&hidden, layer, taps)?;
        }
        cache.time += time;
        self.norm.forward(&hidden)
    }

    /// `hidden: [batch, time, width] -> [batch, time, vocab]`.
    pub(super) fn logits(&self, hidden: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        self.head.forward(hidden, taps)
    }
}

/// One transformer block.
struct Block {
    path: String,
    norm: Norm,
    attention: Attention,
    cross_norm: Norm,
    cross_attention: Attention,
    feed_forward: FeedForward,
}

impl Block {
    fn build(config: &Config, layer: usize, source: &mut dyn Source) -> Result<Self> {
        let path = format!("model.decoder.layers.{layer}");
        let (width, heads) = (config.d_model, config.decoder_attention_heads);
        Ok(Self {
            norm: Norm::build(&format!("{path}.self_attn_layer_norm"), width, source)?,
            attention: attention(&format!("{path}.self_attn"), width, heads, source)?,
            cross_norm: Norm::build(&format!("{path}.encoder_attn_layer_norm"), width, source)?,
            cross_attention: attention(&format!("{path}.encoder_attn"), width, heads, source)?,
            feed_forward: FeedForward::build(&path, width, config.decoder_ffn_dim, source)?,
            path,
        })
    }

    /// `x: [batch, time, width]`, the positions after those in `cache`.
    fn forward(&self, x: &Tensor, cache: &mut LayerCache, taps: &mut dyn Taps) -> Result<Tensor> {
        let normed = self.norm.forward(x)?;
        let now = self.attention.keys_values(&normed, taps)?;
        let memory = match cache.past.take() {
            Some(past) => past.extended(&now)?,
            None => now,
        };
        let x = self.attention.forward(x, &normed, &memory, Scope::CAUSAL, taps)?;
        cache.past = Some(memory);
        let normed = self.cross_norm.forward(&x)?;
        let x = self.cross_attention.forward(&x, &normed, &cache.encoded, Scope::default(), taps)?;
        let hidden = self.feed_forward.forward(&x, taps)?;
        taps.block_output(&self.path, &hidden)?;
        Ok(hidden)
    }
}

/// Keys and values of every block.
pub(super) struct DecoderCache {
    layers: Vec<LayerCache>,
    /// Tokens decoded so far.
    time: usize,
    origins: Origins,
    /// What one token after the other is computed in.
    workspace: op::Workspace,
}

struct LayerCache {
    /// Of the tokens so far, `[batch, time, width]`; none before the first.
    past: Option<KeysValues>,
    /// Of the encoder's output, `[batch, positions, width]`.
    encoded: KeysValues,
}

impl Stepped for DecoderCache {
    fn progress(&mut self) -> (usize, &mut op::Workspace) {
        (self.time, &mut self.workspace)
    }
}

impl Cache for DecoderCache {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let is_encoded_other = self.origins.select(rows);
        for LayerCache { past, encoded } in &mut self.layers {
            let encoded = is_encoded_other.then_some(encoded);
            past.iter_mut().chain(encoded).try_for_each(|kept| kept.select(rows))?;
        }
        Ok(())
    }
}

//! MPT, the decoder-only family of MosaicML (Portes et al., *MPT-7B*, 2023; llm-foundry), for Hugging Face checkpoints of every size
//! as they are.
//!
//! A pre-norm transformer that reads and continues text: one fused projection for queries, keys and values, ALiBi in place of position
//! vectors, exact GELU. Most have no bias at all; those that have one have it in every linear layer and norm. The output head shares
//! the token table unless the configuration unties it.
//!
//! Other programs call the last norm a part of the last block: what [`Taps`] see as its output is normed, as the hidden states of
//! `transformers` are, and as SquareHead was published for this family.

mod alibi;
mod block;
mod config;
mod processor;
#[cfg(test)]
mod processor_tests;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use serde_json::Value;

use super::memory::{KeysValues, RoomyBias, Stepped};
use super::{Cache, Encoded, Family, Model, Module, NoTaps, Processor, Source, Taps};
use crate::batch::{Batch, Inputs, Tokens};
use crate::linear::{Dense, Linear};
use crate::metric::Perplexity;
use crate::shelf::Item;
use crate::{Checkpoint, Fault, Result, op};
use block::{Block, Norm};
use config::Config;

/// The family.
pub struct Mpt;

impl Family for Mpt {
    fn word(&self) -> &'static str {
        "mpt"
    }

    fn model_type(&self) -> &'static str {
        "mpt"
    }

    fn metric(&self) -> &'static str {
        Perplexity::NAME
    }

    fn modules(&self, config: &Value) -> Result<Vec<Module>> {
        Ok(Config::parse(config)?.modules())
    }

    fn full_name(&self, stored: &str) -> Option<String> {
        let is_bare = ["blocks.", "wte.", "norm_f."].iter().any(|start| stored.starts_with(start));
        Some(if is_bare { format!("transformer.{stored}") } else { stored.to_owned() })
    }

    fn ties(&self, config: &Value) -> Result<Vec<(String, String)>> {
        let tie = ("lm_head.weight".to_owned(), "transformer.wte.weight".to_owned());
        Ok(if Config::parse(config)?.tie_word_embeddings { vec![tie] } else { Vec::new() })
    }

    fn build(&self, config: &Value, source: &mut dyn Source) -> Result<Box<dyn Model>> {
        Ok(Box::new(Network::build(&Config::parse(config)?, source)?))
    }

    fn trial(&self, config: &Value, tokens: usize) -> Result<(Inputs, Tokens)> {
        let config = Config::parse(config)?;
        let prompt = (0..tokens.clamp(1, config.max_seq_len)).map(|at| (at % config.vocab_size) as u32).collect();
        Ok((Inputs::Nothing, Tokens::padded(&[prompt], 0)))
    }

    fn processor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Processor>> {
        Ok(Box::new(processor::MptProcessor::of(checkpoint)?))
    }

    fn told(&self, _: Checkpoint, _: Option<&str>, _: Option<&str>) -> Result<Checkpoint> {
        Err(Fault::input("MPT knows no language and no task but its prompt")
            .help("leave `language` and `task` out, and say what is wanted in the source texts"))
    }
}

/// The model with its parameters.
struct Network {
    /// `[vocab, width]`.
    tokens: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
    /// Of ALiBi, for each head.
    slopes: Vec<f32>,
    /// Tokens of the longest text.
    longest: usize,
}

impl Network {
    fn build(config: &Config, source: &mut dyn Source) -> Result<Self> {
        let (vocab, width) = (config.vocab_size, config.d_model);
        let tokens = source.tensor("transformer.wte.weight", &[vocab, width])?;
        let blocks = (0..config.n_layers).map(|layer| Block::build(config, layer, source)).collect::<Result<_>>()?;
        let norm = Norm::build("transformer.norm_f", config, source)?;
        let head = match config.tie_word_embeddings {
            true => Linear::new("lm_head", Arc::new(Dense::new(tokens.clone(), None))),
            false => source.linear("lm_head", vocab, width, false)?,
        };
        Ok(Self { tokens, blocks, norm, head, slopes: config.slopes(), longest: config.max_seq_len })
    }

    fn empty(&self) -> MptCache {
        let layers = self.blocks.iter().map(|_| None).collect();
        MptCache { layers, time: 0, places: None, bias: RoomyBias::default(), workspace: op::Workspace::default() }
    }

    /// Feeds `tokens` after what `cache` holds; the normed output `[batch, time, width]` of the last block.
    fn advance(&self, tokens: &Tokens, cache: &mut MptCache, taps: &mut dyn Taps) -> Result<Tensor> {
        let (batch, time) = (tokens.batch(), tokens.time());
        let keys = cache.time + time;
        if time == 0 || keys > self.longest {
            return Err(Fault::input(format!(
                "a text of {keys} tokens does not fit the model, which reads 1 to {}",
                self.longest
            ))
            .help("shorten the prompt, or ask for fewer tokens"));
        }
        let bias = self.bias(keys, cache)?;
        cache.grow(tokens)?;
        let scope = op::Scope { causal: true, places: cache.places.as_deref(), bias: Some(&bias), ..op::Scope::default() };
        let mut hidden = op::embedding(&self.tokens, tokens.ids(), &[batch, time])?;
        for (at, (block, past)) in self.blocks.iter().zip(&mut cache.layers).enumerate() {
            hidden = block.forward(&hidden, past, scope, taps)?;
            if at + 1 < self.blocks.len() {
                taps.block_output(&block.path, &hidden)?;
            }
        }
        let normed = self.norm.forward(&hidden)?;
        self.blocks.last().map_or(Ok(()), |block| taps.block_output(&block.path, &normed))?;
        Ok(normed)
    }

    /// The bias of `keys` keys; after the first tokens with room for more.
    fn bias(&self, keys: usize, cache: &mut MptCache) -> Result<Tensor> {
        let bias = |keys| {
            let values = alibi::bias(&self.slopes, keys);
            Ok(Tensor::from_vec(values, (self.slopes.len(), 1, keys), self.tokens.device())?)
        };
        if cache.time == 0 { bias(keys) } else { cache.bias.of(keys, bias) }
    }
}

impl Model for Network {
    fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor> {
        if !matches!(batch.inputs, Inputs::Nothing) {
            return Err(Fault::internal("MPT has no encoder, and was given an input for one"));
        }
        let hidden = self.advance(&batch.decoder, &mut self.empty(), taps)?;
        self.head.forward(&hidden, taps)
    }

    fn start(&self, _: Option<&Encoded>) -> Result<Box<dyn Cache>> {
        Ok(Box::new(self.empty()))
    }

    fn step(&self, tokens: &Tokens, cache: &mut dyn Cache) -> Result<Tensor> {
        let cache: &mut MptCache =
            cache.as_any_mut().downcast_mut().ok_or_else(|| Fault::internal("a cache of another model"))?;
        cache.step(tokens.time(), |cache| self.head.forward(&op::last(&self.advance(tokens, cache, &mut NoTaps)?)?, &mut NoTaps))
    }
}

/// Keys and values of every block.
struct MptCache {
    /// Of the tokens so far; none before the first.
    layers: Vec<Option<KeysValues>>,
    /// Tokens so far, padding included.
    time: usize,
    /// Where each sequence lies among them, where there is padding.
    places: Option<Box<[Range<usize>]>>,
    /// Of ALiBi.
    bias: RoomyBias,
    /// What one token after the other is computed in.
    workspace: op::Workspace,
}

impl MptCache {
    /// Makes room for `tokens`.
    fn grow(&mut self, tokens: &Tokens) -> Result<()> {
        match &mut self.places {
            _ if self.time == 0 => self.places = tokens.padding().map(Box::from),
            Some(places) if tokens.padding().is_none() => places.iter_mut().for_each(|place| place.end += tokens.time()),
            None if tokens.padding().is_none() => {}
            _ => return Err(Fault::internal("only the first tokens of a batch may be padded")),
        }
        self.time += tokens.time();
        Ok(())
    }
}

impl Stepped for MptCache {
    fn progress(&mut self) -> (usize, &mut op::Workspace) {
        (self.time, &mut self.workspace)
    }
}

impl Cache for MptCache {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.places = self.places.as_ref().map(|places| rows.iter().map(|&row| places[row].clone()).collect());
        self.layers.iter_mut().flatten().try_for_each(|layer| layer.select(rows))
    }
}

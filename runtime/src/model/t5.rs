//! T5, the text-to-text transformer (Raffel et al., *Exploring the Limits of Transfer Learning with a Unified Text-to-Text
//! Transformer*, arXiv 1910.10683), for Hugging Face checkpoints of v1.0, v1.1 and Flan.
//!
//! Encoder and decoder are stacks of pre-norm blocks that differ in what they see. Norms have no mean and no bias, scores are not
//! scaled, and positions are known by distance alone. In v1.0 the output head is the token table; v1.1 has a head of its own and
//! gated feed-forward parts.

mod attention;
mod config;
mod processor;
#[cfg(test)]
mod processor_tests;
mod stack;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::Tensor;
use serde_json::Value;

use super::memory::Stepped;
use super::{Cache, Encoded, Family, Model, Module, NoTaps, Processor, Source, Taps};
use crate::batch::{Batch, Inputs, Tokens};
use crate::linear::{Dense, Linear};
use crate::metric::Bleu;
use crate::shelf::Item;
use crate::{Checkpoint, Fault, Result, op};
use config::{Config, Side};
use stack::{Stack, StackCache};

/// The family.
pub struct T5;

/// What older writers left in the decoder's first block, and no version of the model reads.
const LEFT_BEHIND: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

impl Family for T5 {
    fn word(&self) -> &'static str {
        "t5"
    }

    fn model_type(&self) -> &'static str {
        "t5"
    }

    fn metric(&self) -> &'static str {
        Bleu::NAME
    }

    fn modules(&self, config: &Value) -> Result<Vec<Module>> {
        Ok(Config::parse(config)?.modules())
    }

    fn full_name(&self, stored: &str) -> Option<String> {
        (stored != LEFT_BEHIND).then(|| stored.to_owned())
    }

    fn ties(&self, config: &Value) -> Result<Vec<(String, String)>> {
        let head = Config::parse(config)?.is_tied().then_some("lm_head.weight");
        let copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"].into_iter().chain(head);
        Ok(copies.map(|copy| (copy.to_owned(), "shared.weight".to_owned())).collect())
    }

    fn build(&self, config: &Value, source: &mut dyn Source) -> Result<Box<dyn Model>> {
        let config = Config::parse(config)?;
        let (vocab, width) = (config.vocab_size, config.d_model);
        let tokens = source.tensor("shared.weight", &[vocab, width])?;
        let encoder = Stack::build(&config, Side::Encoder, source)?;
        let decoder = Stack::build(&config, Side::Decoder, source)?;
        let head = match config.is_tied() {
            true => Linear::new("lm_head", Arc::new(Dense::new(tokens.clone(), None))),
            false => source.linear("lm_head", vocab, width, false)?,
        };
        Ok(Box::new(Network { tokens, encoder, decoder, output_scale: config.output_scale().map(|scale| scale as f32), head }))
    }

    fn trial(&self, config: &Value, tokens: usize) -> Result<(Inputs, Tokens)> {
        let config = Config::parse(config)?;
        let source = (0..tokens.clamp(1, config.n_positions)).map(|at| (at % config.vocab_size) as u32).collect();
        Ok((Inputs::Tokens(Tokens::padded(&[source], 0)), Tokens::column(vec![0])))
    }

    fn processor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Processor>> {
        Ok(Box::new(processor::T5Processor::of(checkpoint)?))
    }

    fn told(&self, checkpoint: Checkpoint, language: Option<&str>, task: Option<&str>) -> Result<Checkpoint> {
        processor::told(checkpoint, language, task)
    }
}

/// The model with its parameters.
struct Network {
    /// `[vocab, width]`.
    tokens: Tensor,
    encoder: Stack,
    decoder: Stack,
    output_scale: Option<f32>,
    head: Linear,
}

impl Network {
    /// `[batch, time, width]`.
    fn embedded(&self, tokens: &Tokens) -> Result<Tensor> {
        op::embedding(&self.tokens, tokens.ids(), &[tokens.batch(), tokens.time()])
    }

    fn read(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Encoded> {
        let Inputs::Tokens(tokens) = inputs else {
            return Err(Fault::input("T5 reads text, and this data set has no source text")
                .help("name the column that holds it: `jsonl(…, source: \"en\")`"));
        };
        let mut cache = self.encoder.start(None, taps)?;
        let states = self.encoder.advance(self.embedded(tokens)?, tokens.padding(), &mut cache, taps)?;
        Ok(Encoded { states, places: tokens.padding().map(Box::from) })
    }

    /// `hidden: [batch, time, width] -> [batch, time, vocab]`.
    fn logits(&self, hidden: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        match self.output_scale {
            Some(scale) => self.head.forward(&op::scale(hidden, scale)?, taps),
            None => self.head.forward(hidden, taps),
        }
    }
}

impl Model for Network {
    fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor> {
        let encoded = self.read(&batch.inputs, taps)?;
        let mut cache = self.decoder.start(Some(&encoded), taps)?;
        let hidden = self.decoder.advance(self.embedded(&batch.decoder)?, None, &mut cache, taps)?;
        self.logits(&hidden, taps)
    }

    fn encode(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Option<Encoded>> {
        self.read(inputs, taps).map(Some)
    }

    fn start(&self, encoded: Option<&Encoded>) -> Result<Box<dyn Cache>> {
        Ok(Box::new(self.decoder.start(Some(Encoded::expect(encoded)?), &mut NoTaps)?))
    }

    fn step(&self, tokens: &Tokens, cache: &mut dyn Cache) -> Result<Tensor> {
        let cache: &mut StackCache =
            cache.as_any_mut().downcast_mut().ok_or_else(|| Fault::internal("a cache of another model"))?;
        if tokens.time() == 0 || tokens.padding().is_some() {
            return Err(Fault::internal("T5's decoder begins with the same tokens in every sequence"));
        }
        cache.step(tokens.time(), |cache| {
            let hidden = self.decoder.advance(self.embedded(tokens)?, None, cache, &mut NoTaps)?;
            self.logits(&op::last(&hidden)?, &mut NoTaps)
        })
    }
}

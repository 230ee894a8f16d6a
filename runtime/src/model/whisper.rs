//! Whisper, the speech recognizer (Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision*, arXiv 2212.04356),
//! for Hugging Face checkpoints of every size.
//!
//! Two convolutions halve the rate of a log-mel spectrogram; a pre-norm transformer encodes it; a pre-norm decoder with
//! cross-attention writes tokens. The output head shares the token table unless the configuration unties it.

mod attention;
mod block;
mod config;
mod decoder;
mod encoder;
mod processor;
#[cfg(test)]
mod processor_tests;
mod prompt;
#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{Cache, Encoded, Family, Model, Module, Processor, Source, Taps};
use crate::batch::{Batch, Inputs, Tokens};
use crate::metric::Wer;
use crate::shelf::Item;
use crate::{Checkpoint, Fault, Result};
use config::Config;
use decoder::{Decoder, DecoderCache};
use encoder::Encoder;

/// Tokens of the usual prompt: start, language, task, no time stamps.
const PROMPT_TOKENS: u32 = 4;

/// The family.
pub struct Whisper;

impl Family for Whisper {
    fn word(&self) -> &'static str {
        "whisper"
    }

    fn model_type(&self) -> &'static str {
        "whisper"
    }

    fn metric(&self) -> &'static str {
        Wer::NAME
    }

    fn modules(&self, config: &Value) -> Result<Vec<Module>> {
        Ok(Config::parse(config)?.modules())
    }

    fn full_name(&self, stored: &str) -> Option<String> {
        Some(match stored.starts_with("encoder.") || stored.starts_with("decoder.") {
            true => format!("model.{stored}"),
            false => stored.to_owned(),
        })
    }

    fn ties(&self, config: &Value) -> Result<Vec<(String, String)>> {
        let tie = ("proj_out.weight".to_owned(), "model.decoder.embed_tokens.weight".to_owned());
        Ok(if Config::parse(config)?.tie_word_embeddings { vec![tie] } else { Vec::new() })
    }

    fn build(&self, config: &Value, source: &mut dyn Source) -> Result<Box<dyn Model>> {
        let config = Config::parse(config)?;
        Ok(Box::new(Network { encoder: Encoder::build(&config, source)?, decoder: Decoder::build(&config, source)? }))
    }

    fn trial(&self, config: &Value, _tokens: usize) -> Result<(Inputs, Tokens)> {
        let config = Config::parse(config)?;
        let (mels, frames) = (config.num_mel_bins, 2 * config.max_source_positions);
        let tone = (0..mels * frames).map(|at| (at as f32 * 0.37).sin()).collect();
        let prompt = (0..PROMPT_TOKENS.min(config.vocab_size as u32)).collect();
        Ok((Inputs::Features(Tensor::from_vec(tone, (1, mels, frames), &Device::Cpu)?), Tokens::padded(&[prompt], 0)))
    }

    fn processor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Processor>> {
        Ok(Box::new(processor::WhisperProcessor::of(checkpoint)?))
    }

    fn told(&self, checkpoint: Checkpoint, language: Option<&str>, task: Option<&str>) -> Result<Checkpoint> {
        prompt::told(checkpoint, language, task)
    }
}

/// The model with its parameters.
struct Network {
    encoder: Encoder,
    decoder: Decoder,
}

impl Network {
    /// `[batch, positions, width]`.
    fn listen(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Tensor> {
        match inputs {
            Inputs::Features(features) => self.encoder.forward(features, taps),
            Inputs::Tokens(_) | Inputs::Nothing => Err(Fault::input("Whisper hears audio, and this data set has only text")),
        }
    }
}

impl Model for Network {
    fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor> {
        let encoded = self.listen(&batch.inputs, taps)?;
        let mut cache = self.decoder.start(&encoded, taps)?;
        let hidden = self.decoder.advance(&batch.decoder, &mut cache, taps)?;
        self.decoder.logits(&hidden, taps)
    }

    fn encode(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Option<Encoded>> {
        Ok(Some(Encoded { states: self.listen(inputs, taps)?, places: None }))
    }

    fn start(&self, encoded: Option<&Encoded>) -> Result<Box<dyn Cache>> {
        Ok(Box::new(self.decoder.start(&Encoded::expect(encoded)?.states, &mut super::NoTaps)?))
    }

    fn step(&self, tokens: &Tokens, cache: &mut dyn Cache) -> Result<Tensor> {
        let cache: &mut DecoderCache =
            cache.as_any_mut().downcast_mut().ok_or_else(|| Fault::internal("a cache of another model"))?;
        self.decoder.step(tokens, cache)
    }
}

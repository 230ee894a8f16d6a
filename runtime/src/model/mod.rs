//! The shelf of model families: what a family is, and the table of them.
//!
//! One file defines a family's forward pass for training, calibration and inference alike. It takes its parameters from a
//! [`Source`], which decides whether they are trained, plain or compiled, and shows named intermediates to [`Taps`] without
//! knowing why anybody looks.

use std::ops::Range;

use candle_core::Tensor;
use serde_json::Value;

mod attention;
mod limits;
mod memory;
pub mod mpt;
#[cfg(test)]
mod parity;
pub mod t5;
pub mod whisper;

use crate::batch::{Batch, Example, Inputs, Tokens};
use crate::generate::{Asked, Ended, Search};
use crate::linear::Linear;
use crate::{Checkpoint, Fault, Result};

/// Where a model's parameters come from while it is built.
pub trait Source {
    /// The parameter `name`, checked to have `shape`.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor>;

    /// The parameter `name` that training leaves as it is, such as positions that were computed and not learned.
    fn frozen(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.tensor(name, shape)
    }

    /// The linear layer at module path `path`: weight `[out, in]` (`path.weight`), bias `[out]` (`path.bias`) if `bias`.
    fn linear(&mut self, path: &str, out: usize, inputs: usize, bias: bool) -> Result<Linear>;
}

/// Looks at a forward pass from outside.
pub trait Taps {
    /// Sees the input `[.., in]` of the linear layer at `path`.
    fn linear_input(&mut self, path: &str, x: &Tensor) -> Result<()> {
        let _ = (path, x);
        Ok(())
    }

    /// Whether it looks at inputs of linear layers. Where it does not, some of them never are tensors.
    fn sees_inputs(&self) -> bool {
        true
    }

    /// Sees the raw output `[batch, positions or time, width]` of the transformer block at `path`.
    fn block_output(&mut self, path: &str, hidden: &Tensor) -> Result<()> {
        let _ = (path, hidden);
        Ok(())
    }
}

/// Nobody looks.
pub struct NoTaps;
impl Taps for NoTaps {
    fn sees_inputs(&self) -> bool {
        false
    }
}

/// What a module is to the recipe's selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// A matrix product: what pruning and quantization select.
    Linear,
    /// A convolution.
    Conv,
    /// A layer norm.
    Norm,
    /// A table of token or position vectors.
    Embedding,
}

/// One module of a model with parameters of its own, known from the configuration alone.
#[derive(Clone, Debug)]
pub struct Module {
    /// Path in the checkpoint without the parameter's name: `model.encoder.layers.0.fc1`.
    pub path: String,
    /// What it is.
    pub kind: ModuleKind,
    /// What it does in its block, for `role(...)`: `attention.q`, `attention.out`, `mlp.up`, `mlp.down`, `output_head`, …
    pub role: &'static str,
    /// Shape of its weight; `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    /// Whether it has a bias, as long as the first side of its weight.
    pub bias: bool,
    /// How its weight starts; `None` where the weight is another module's (a tied head).
    pub initial: Option<Initial>,
}

/// How a parameter starts before any training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Drawn from a normal distribution around zero.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// Sines and cosines of the position, `[positions, width]`.
    Sinusoids,
}

/// One stored tensor that a checkpoint must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub initial: Initial,
}

impl Module {
    /// The parameters of this module: its weight, then its bias.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        let named = |name: &str, shape: &[usize], initial| Parameter {
            name: format!("{}.{name}", self.path),
            shape: shape.to_vec(),
            initial,
        };
        let weight = self.initial.map(|initial| named("weight", &self.shape, initial));
        let bias = self.bias.then(|| named("bias", &self.shape[..1], Initial::Zeros));
        weight.into_iter().chain(bias)
    }

    /// How many numbers its parameters are.
    pub fn parameter_count(&self) -> usize {
        self.parameters().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
    }
}

/// Every family.
pub const FAMILIES: &[&dyn Family] = &[&mpt::Mpt, &t5::T5, &whisper::Whisper];

/// The family that reads this `config.json`.
///
/// # Errors
/// When no family does; the message lists those that are known.
pub fn family(config: &Value) -> Result<&'static dyn Family> {
    let model_type = config.get("model_type").and_then(Value::as_str);
    FAMILIES.iter().copied().find(|family| Some(family.model_type()) == model_type).ok_or_else(|| {
        let known = FAMILIES.iter().map(|family| format!("`{}`", family.model_type())).collect::<Vec<_>>().join(", ");
        let found = model_type.map_or("`model_type` is missing".to_owned(), |name| format!("`model_type` is `{name}`"));
        Fault::input(format!("{found}; the families known here are {known}"))
    })
}

/// A family of models: one file of this folder, one row of [`FAMILIES`].
pub trait Family: Sync {
    /// The word in a recipe, also this file's stem.
    fn word(&self) -> &'static str;

    /// `model_type` of the `config.json` files it reads.
    fn model_type(&self) -> &'static str;

    /// The word of the metric that its models are scored by unless another is asked for.
    fn metric(&self) -> &'static str;

    /// Every module that a checkpoint with this `config.json` has, in the order of the forward pass.
    ///
    /// # Errors
    /// When the configuration lacks a field or asks for something that the family does not do.
    fn modules(&self, config: &Value) -> Result<Vec<Module>>;

    /// The full name of a stored tensor: some checkpoints were saved without the first segment. None for a tensor that older writers
    /// left behind and that no model reads.
    fn full_name(&self, stored: &str) -> Option<String>;

    /// Tensors that may be stored as copies of others, `(copy, original)`.
    ///
    /// # Errors
    /// As [`Family::modules`].
    fn ties(&self, config: &Value) -> Result<Vec<(String, String)>>;

    /// Builds the model from a configuration and a source of parameters.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    fn build(&self, config: &Value, source: &mut dyn Source) -> Result<Box<dyn Model>>;

    /// An input without meaning, to time a model without data: what one sequence gives the encoder (of audio as much as is heard at
    /// once, of text `tokens` tokens), and the prompt that decoding begins with (`tokens` tokens where there is no encoder).
    ///
    /// # Errors
    /// As [`Family::modules`].
    fn trial(&self, config: &Value, tokens: usize) -> Result<(Inputs, Tokens)>;

    /// Reads what the family needs besides parameters (tokenizer, feature extractor, generation settings) from the checkpoint's
    /// companion files, and so turns rows of data into batches and tokens into text.
    ///
    /// # Errors
    /// When a companion file is missing, or does not fit the configuration.
    fn processor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Processor>>;

    /// `checkpoint` that was told which language is spoken and what to do with it, in its own files, so that an export carries it
    /// along. What is not given stays as it is.
    ///
    /// # Errors
    /// A language or task that the model does not know.
    fn told(&self, checkpoint: Checkpoint, language: Option<&str>, task: Option<&str>) -> Result<Checkpoint>;
}

/// A model ready to compute.
pub trait Model: Send + Sync {
    /// Teacher forcing: logits `[batch, time, vocab]`.
    fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor>;

    /// What the encoder makes of `inputs`, computed once per batch; nothing for a family that only decodes.
    fn encode(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Option<Encoded>> {
        let _ = (inputs, taps);
        Ok(None)
    }

    /// An empty KV cache over `encoded`: cross-attention keys and values are computed here, once.
    fn start(&self, encoded: Option<&Encoded>) -> Result<Box<dyn Cache>>;

    /// Feeds `tokens` `[batch, time]` after what `cache` holds; the logits `[batch, vocab]` after the last of them, good until the next
    /// step with this cache, which may write in their place. Only the first tokens after [`Model::start`] may be padded, before their
    /// sequences.
    fn step(&self, tokens: &Tokens, cache: &mut dyn Cache) -> Result<Tensor>;
}

/// What an encoder made of a batch.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// `[batch, positions, width]`.
    pub states: Tensor,
    /// Where each sequence lies among the positions, where there is padding.
    pub places: Option<Box<[Range<usize>]>>,
}

impl Encoded {
    /// Sequences.
    pub fn batch(&self) -> usize {
        self.states.dims()[0]
    }

    /// The encoder's output that a model which listens to one asks for.
    ///
    /// # Errors
    /// When there is none.
    pub fn expect(encoded: Option<&Self>) -> Result<&Self> {
        encoded.ok_or_else(|| Fault::internal("decoding began without what the encoder made of the input"))
    }
}

/// Keys and values of everything decoded so far; made by [`Model::start`], understood by the same model.
pub trait Cache: Send {
    /// For the model to get its own type back.
    fn as_any_mut(&mut self) -> &mut dyn std::any::Any;

    /// Keeps only the sequences `rows`, in this order (those still unfinished, or the beams that survive).
    fn select(&mut self, rows: &[usize]) -> Result<()>;
}

/// One row of a data set, as far as any family reads it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Mono samples in -1..1 at the processor's rate.
    pub audio: Option<std::sync::Arc<[f32]>>,
    /// Source text of translation or generation.
    pub source: Option<String>,
    /// Reference text: the transcript, the translation, the answer.
    pub text: String,
}

/// From rows of data to tensors, and from tokens to text.
pub trait Processor: Send + Sync {
    /// Samples per second that `Row::audio` must have, where the family hears.
    fn sample_rate(&self) -> Option<u32> {
        None
    }

    /// Samples of the longest recording that is heard at once, where the family hears.
    fn window_samples(&self) -> Option<usize> {
        None
    }

    /// What a row becomes for training and calibration: the encoder's input and tokens. Depends on the row alone, so that it is
    /// computed once.
    fn example(&self, row: &Row) -> Result<Example>;

    /// The token that fills short sequences of a batch; see [`Batch::of`].
    fn pad(&self) -> u32;

    /// A row of ordinary size and no meaning, for what is measured without data.
    fn probe(&self) -> Row;

    /// How the checkpoint's own settings want tokens to be found.
    fn search(&self) -> Search {
        Search::default()
    }

    /// The text that `model` makes of each of `rows`, found by `search`, or as the checkpoint's own settings say.
    fn decode(&self, model: &dyn Model, rows: &[Row], search: Option<&Search>) -> Result<Vec<Decoded>>;

    /// What `model` says after the text `prompt`, where the family continues texts; `told` sees each part of it as soon as no later
    /// token can change it.
    ///
    /// # Errors
    /// A family that does not, a prompt that does not fit, and those of `told`.
    fn continue_text(
        &self,
        model: &dyn Model,
        prompt: &str,
        asked: &Asked,
        told: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<(Decoded, Ended)> {
        let _ = (model, prompt, asked, told);
        Err(Fault::input("this model does not continue texts").help("use an MPT checkpoint"))
    }
}

/// What a model said for one row.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The text, special tokens removed.
    pub text: String,
    /// The tokens generated after the prompt, the end token excluded.
    pub tokens: Vec<u32>,
}

//! The shelf of model families: what a family is, and the table of them.
//!
//! One file defines a family's forward pass for training, calibration and inference alike. It takes its parameters from a
//! [`Source`], which decides whether they are trained, plain or compiled, and shows named intermediates to [`Taps`] without
//! knowing why anybody looks.

use candle_core::Tensor;
use serde_json::Value;

use crate::batch::{Batch, Example, Inputs, Tokens};
use crate::linear::Linear;
use crate::{Checkpoint, Result};

/// Where a model's parameters come from while it is built.
pub trait Source {
    /// The parameter `name`, checked to have `shape`.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor>;

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

    /// Sees the raw output `[batch, positions or time, width]` of the transformer block at `path`.
    fn block_output(&mut self, path: &str, hidden: &Tensor) -> Result<()> {
        let _ = (path, hidden);
        Ok(())
    }
}

/// Nobody looks.
pub struct NoTaps;
impl Taps for NoTaps {}

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
    /// Parameters: weight and bias together; 0 where the weight is another module's (a tied head).
    pub parameters: usize,
}

/// A family of models: one file of this folder, one row of [`FAMILIES`].
pub trait Family: Sync {
    /// The word in a recipe, also this file's stem.
    fn word(&self) -> &'static str;

    /// `model_type` of the `config.json` files it reads.
    fn model_type(&self) -> &'static str;

    /// Every module that a checkpoint with this `config.json` has, in the order of the forward pass.
    ///
    /// # Errors
    /// When the configuration lacks a field or asks for something that the family does not do.
    fn modules(&self, config: &Value) -> Result<Vec<Module>>;

    /// The name and shape of every parameter tensor that a checkpoint must hold.
    ///
    /// # Errors
    /// As [`Family::modules`].
    fn parameters(&self, config: &Value) -> Result<Vec<(String, Vec<usize>)>>;

    /// Builds the model from a configuration and a source of parameters.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    fn build(&self, config: &Value, source: &mut dyn Source) -> Result<Box<dyn Model>>;

    /// Reads what the family needs besides parameters (tokenizer, feature extractor, generation settings) from the checkpoint's
    /// companion files, and so turns rows of data into batches and tokens into text.
    ///
    /// # Errors
    /// When a companion file is missing, or does not fit the configuration.
    fn processor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Processor>>;
}

/// A model ready to compute. Decoder-only families ignore the encoder's part.
pub trait Model: Send + Sync {
    /// Teacher forcing: logits `[batch, time, vocab]`.
    fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor>;

    /// The encoder's output `[batch, positions, width]`, computed once per batch.
    fn encode(&self, inputs: &Inputs, taps: &mut dyn Taps) -> Result<Tensor>;

    /// An empty KV cache over `encoded`: cross-attention keys and values are computed here, once.
    fn start(&self, encoded: &Tensor) -> Result<Box<dyn Cache>>;

    /// Feeds `tokens` `[batch, time]` after what `cache` holds; the logits `[batch, vocab]` after the last of them.
    fn step(&self, tokens: &Tokens, cache: &mut dyn Cache) -> Result<Tensor>;
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
    fn sample_rate(&self) -> Option<u32>;

    /// What a row becomes for training and calibration: features and tokens. Depends on the row alone, so that it is computed once.
    fn example(&self, row: &Row) -> Result<Example>;

    /// The token that fills short sequences of a batch; see [`Batch::of`].
    fn pad(&self) -> u32;

    /// Greedy decoding of `rows` to text, one string each.
    fn decode(&self, model: &dyn Model, rows: &[Row]) -> Result<Vec<Decoded>>;
}

/// What a model said for one row.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The text, special tokens removed.
    pub text: String,
    /// The tokens generated after the prompt, the end token excluded.
    pub tokens: Vec<u32>,
}

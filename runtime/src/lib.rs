//! Every word of a recipe, and what it does: models, data, training, pruning, quantization, artifacts.
//!
//! Letters of shapes, in every file of this crate: `batch` utterances or sequences, `time` decoder tokens, `positions` encoder
//! frames or tokens, `width` the model's hidden size, `heads`, `mels`, `frames` of a spectrogram, `vocab`, `out` and `in` of a
//! linear layer. Parameters are FP32 while they are worked on; a weight matrix is `[out, in]`, row-major.

pub mod audio;
pub mod augmentation;
pub mod batch;
pub mod benchmark;
pub mod checkpoint;
pub mod dataset;
pub mod disk;
pub mod engine;
pub mod export;
pub mod facts;
pub mod fault;
pub mod folder;
pub mod generate;
pub mod hub;
pub mod linear;
pub mod loss;
pub mod measure;
pub mod memory;
pub mod metric;
pub mod model;
pub mod op;
pub mod optimizer;
pub mod pattern;
pub mod postcondition;
pub mod profile;
pub mod pruner;
pub mod quantizer;
pub mod report;
pub mod run;
pub mod schedule;
pub mod shelf;
mod source;
pub mod stage;
pub mod threads;
pub mod tokenizer;
pub mod train;
pub mod vocabulary;
pub mod weight;

pub use batch::{Batch, Example, Inputs, Tokens};
pub use checkpoint::Checkpoint;
pub use fault::{Fault, FaultKind, Result};
pub use linear::Linear;
pub use sparsec_kernels::Mask;

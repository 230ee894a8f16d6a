//! `safetensors`: a Hugging Face folder that transformers, and so everything built on it, loads.
//!
//! A model with INT8 layers is a compressed-tensors checkpoint of format `int-quantized`; any other one is plain, its pruned weights
//! zeros. The layout is that of every checkpoint of ours (`checkpoint/write.rs`), and so is the reader.

use std::path::Path;

use super::Exporter;
use crate::{Checkpoint, Result, word};

word! {
    /// A Hugging Face folder; INT8 layers in the layout of compressed-tensors.
    pub struct Safetensors = "safetensors";
}

impl Exporter for Safetensors {
    fn fill(&self, checkpoint: &Checkpoint, folder: &Path) -> Result<()> {
        checkpoint.write_into(folder)
    }

    fn read_back(&self, folder: &Path) -> Result<Checkpoint> {
        Checkpoint::read(folder)
    }
}

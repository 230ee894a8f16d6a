//! `safetensors`: a Hugging Face folder; INT8 layers as compressed-tensors' `int-quantized`, zeros as plain zeros.

use std::path::Path;

use super::Exporter;
use crate::{Checkpoint, Fault, Result, folder, word};

/// The file that marks a folder as one of ours.
const MARK: &str = "config.json";

word! {
    /// A Hugging Face folder; INT8 layers as `int-quantized`, masks in a file of their own.
    pub struct Safetensors = "safetensors";
}

impl Exporter for Safetensors {
    fn export(&self, checkpoint: &Checkpoint, to: &Path) -> Result<()> {
        folder::write_whole(to, MARK, |folder| {
            checkpoint.write_into(folder)?;
            let back = Checkpoint::read(folder)?;
            if back.tensors.len() == checkpoint.tensors.len() && back.content_hash()? == checkpoint.content_hash()? {
                return Ok(());
            }
            Err(Fault::running("the exported model is not the one that was to be exported when it is read back").at(to))
        })
    }
}

//! What another program needs to check that it computes what we do: a batch, our logits for it, and our weights.
//!
//! `scripts/check_export.py` reads the file. Tensors: `input_features` `[batch, mels, frames]`, `decoder_input_ids`
//! `[batch, time]` (I64), `logits` `[batch, time, vocab]`, and for each compressed layer `P` its weight as it is multiplied with,
//! `weight/P` `[out, in]`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::batch::Inputs;
use crate::model::{Model, NoTaps};
use crate::weight;
use crate::{Batch, Checkpoint, Fault, Result};

/// Runs `model`, which was built from `checkpoint`, over `batch` and writes the file `to`.
///
/// # Errors
/// A model that does not hear, or a full disk.
pub fn write(checkpoint: &Checkpoint, model: &dyn Model, batch: &Batch, to: &Path) -> Result<()> {
    let Inputs::Features(features) = &batch.inputs else {
        return Err(Fault::input("only models that read spectrograms can be compared this way"));
    };
    let ids: Vec<i64> = batch.decoder.ids().iter().map(|&id| i64::from(id)).collect();
    let mut tensors = HashMap::from([
        ("input_features".to_owned(), features.clone()),
        ("decoder_input_ids".to_owned(), Tensor::from_vec(ids, (batch.decoder.batch(), batch.decoder.time()), &Device::Cpu)?),
        ("logits".to_owned(), model.forward(batch, &mut NoTaps)?),
    ]);
    for (path, quantized) in &checkpoint.quantized {
        let weight = Tensor::from_vec(quantized.dequantized(), (quantized.out, quantized.inputs), &Device::Cpu)?;
        tensors.insert(format!("weight/{path}"), weight);
    }
    for path in checkpoint.masks.keys() {
        if let Some(weight) = checkpoint.tensors.get(&weight::name(path)) {
            tensors.insert(format!("weight/{path}"), weight.clone());
        }
    }
    candle_core::safetensors::save(&tensors, to).map_err(|error| Fault::environment(format!("cannot write this: {error}")).at(to))
}

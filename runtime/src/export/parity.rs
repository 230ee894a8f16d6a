//! What another program needs to check that it computes what we do: a batch, our logits for it, and our weights.
//!
//! `scripts/check_export.py` reads the file. Tensors: what the encoder reads, `input_features` `[batch, mels, frames]` or `input_ids` and
//! `attention_mask` `[batch, positions]` (I64), or nothing where there is none; `decoder_input_ids` `[batch, time]` (I64), `logits` `[batch, time, vocab]`, and for each compressed layer `P` its weight as it is multiplied with,
//! `weight/P` `[out, in]`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::batch::{Inputs, Tokens};
use crate::model::{Model, NoTaps};
use crate::weight;
use crate::{Batch, Checkpoint, Fault, Result};

/// Runs `model`, which was built from `checkpoint`, over `batch` and writes the file `to`.
///
/// # Errors
/// A batch that the model does not read, or a full disk.
pub fn write(checkpoint: &Checkpoint, model: &dyn Model, batch: &Batch, to: &Path) -> Result<()> {
    let mut tensors = HashMap::from([
        ("decoder_input_ids".to_owned(), rows(&batch.decoder, |_, id| id)?),
        ("logits".to_owned(), model.forward(batch, &mut NoTaps)?),
    ]);
    match &batch.inputs {
        Inputs::Features(features) => drop(tensors.insert("input_features".to_owned(), features.clone())),
        Inputs::Tokens(tokens) => {
            tensors.insert("input_ids".to_owned(), rows(tokens, |_, id| id)?);
            tensors.insert("attention_mask".to_owned(), rows(tokens, |is_inside, _| i64::from(is_inside))?);
        }
        Inputs::Nothing => {}
    }
    for (path, quantized) in &checkpoint.quantized {
        let weight = Tensor::from_vec(quantized.dequantized(), (quantized.out, quantized.inputs), &Device::Cpu)?;
        tensors.insert(format!("weight/{path}"), weight);
    }
    for path in checkpoint.masks.keys() {
        if let Some(weight) = checkpoint.tensors.get(&weight::name(path)) {
            tensors.insert(format!("weight/{path}"), weight.tensor()?);
        }
    }
    candle_core::safetensors::save(&tensors, to).map_err(|error| Fault::environment(format!("cannot write this: {error}")).at(to))
}

/// What `of` makes of every token and of whether it is one, not padding; `[batch, time]`.
fn rows(tokens: &Tokens, of: impl Fn(bool, i64) -> i64) -> Result<Tensor> {
    let (batch, time) = (tokens.batch(), tokens.time());
    let is_inside = tokens.places().iter().flat_map(|place| (0..time).map(|at| place.contains(&at)));
    let values: Vec<i64> = is_inside.zip(tokens.ids()).map(|(is_inside, &id)| of(is_inside, i64::from(id))).collect();
    Ok(Tensor::from_vec(values, (batch, time), &Device::Cpu)?)
}

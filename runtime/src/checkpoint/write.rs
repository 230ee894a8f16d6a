//! Writes a checkpoint as a Hugging Face folder that other tools load.
//!
//! Parameters are FP32, or as they lie in the file that they were never taken out of; quantized layers follow compressed-tensors'
//! `int-quantized`, with plain zeros where weights are pruned and the masks in a file of their own. Nothing here is atomic:
//! [`crate::folder::write_whole`] is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use safetensors::{Dtype, SafeTensorError, View};
use serde_json::{Value, json};

use super::header::{CONFIG, WEIGHTS};
use super::{Checkpoint, Parameter, SCALE_SUFFIX, masks, quantization};
use crate::model::Module;
use crate::{Fault, Result, model};

impl Checkpoint {
    /// Writes configuration, weights, masks and companions into the folder `folder`, which exists.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn write_into(&self, folder: &Path) -> Result<()> {
        let config = serde_json::to_vec_pretty(&self.stored_config()?).map_err(|error| Fault::internal(error.to_string()))?;
        for (name, bytes) in self.companions.iter().map(|(name, bytes)| (name.as_str(), bytes)).chain([(CONFIG, &config)]) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|error| Fault::writing(&path, &error))?;
        }
        // A dense model needs the file too where a reader would take its zeros for pruned weights.
        if !self.masks.is_empty() || !masks::derived(&self.modules()?, &self.tensors, &self.quantized)?.is_empty() {
            masks::write(&self.masks, &folder.join(masks::FILE))?;
        }
        let path = folder.join(WEIGHTS);
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let lost = OnceLock::new();
        let written = safetensors::serialize_to_file(self.stored_tensors(&lost), Some(metadata), &path);
        lost.into_inner().map_or(Ok(()), Err)?;
        written.map_err(|error| match error {
            SafeTensorError::IoError(error) => Fault::writing(&path, &error),
            error => Fault::internal(format!("the tensors cannot be written: {error}")).at(&path),
        })
    }

    fn modules(&self) -> Result<Vec<Module>> {
        model::family(&self.config)?.modules(&self.config)
    }

    /// `config.json` as it is written: the type of the stored numbers, and the quantization where there is one.
    fn stored_config(&self) -> Result<Value> {
        let mut config = self.config.clone();
        let modules = self.modules()?;
        let Some(fields) = config.as_object_mut() else {
            return Err(Fault::internal("a configuration that is no object"));
        };
        let key = if fields.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        let is_all = |dtype| self.tensors.values().all(|parameter| parameter.dtype() == dtype);
        let dtype = match (is_all(Dtype::BF16), is_all(Dtype::F16)) {
            (true, false) => "bfloat16",
            (false, true) => "float16",
            _ => "float32",
        };
        fields.insert(key.to_owned(), json!(dtype));
        if !self.quantized.is_empty() {
            let description = quantization::describe(&modules, |path| self.quantized.contains_key(path));
            fields.insert(quantization::KEY.to_owned(), description);
        }
        Ok(config)
    }

    /// Every tensor of the file; `lost` gets the first fault of one that cannot be read.
    fn stored_tensors<'a>(&'a self, lost: &'a OnceLock<Fault>) -> Vec<(String, Stored<'a>)> {
        let dense = self.tensors.iter().map(|(name, parameter)| {
            let content = Content::Parameter(parameter, lost);
            (name.clone(), Stored { dtype: parameter.dtype(), shape: parameter.dims().to_vec(), content })
        });
        let quantized = self.quantized.iter().flat_map(|(path, weight)| {
            let values =
                Stored { dtype: Dtype::I8, shape: vec![weight.out, weight.inputs], content: Content::Integers(&weight.values) };
            let scales = Stored { dtype: Dtype::F32, shape: vec![weight.out, 1], content: Content::Floats(&weight.scales) };
            [(format!("{path}.weight"), values), (format!("{path}{SCALE_SUFFIX}"), scales)]
        });
        dense.chain(quantized).collect()
    }
}

/// A tensor on its way to a file; its bytes are made when their turn comes.
struct Stored<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content<'a>,
}

enum Content<'a> {
    Parameter(&'a Parameter, &'a OnceLock<Fault>),
    Floats(&'a [f32]),
    Integers(&'a [i8]),
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.content {
            Content::Parameter(parameter, lost) => Cow::Owned(parameter.bytes().unwrap_or_else(|fault| {
                lost.get_or_init(|| fault);
                Vec::new()
            })),
            Content::Floats(values) => Cow::Owned(super::little_endian(values)),
            Content::Integers(values) => Cow::Owned(values.iter().map(|&value| value as u8).collect()),
        }
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

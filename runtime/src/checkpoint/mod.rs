//! A model as a value between stages: configuration, parameters, masks, quantized weights, companion files.
//!
//! On disk it is a Hugging Face folder; in memory parameters are FP32 under their checkpoint names, and those of a model that is too
//! large for that stay in their files until they are worked on. Masks and quantized weights go by module path.

mod header;
mod initialize;
pub mod masks;
mod parameter;
mod quantization;
mod shard;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;
use sparsec_kernels::Mask;

pub use header::{Header, config};
pub use parameter::Parameter;

use crate::model::{Module, ModuleKind};
use crate::{Fault, Result};

/// Files that are carried along unchanged, because some reader of the folder needs them.
const COMPANIONS: &[&str] = &[
    "LICENSE",
    "README.md",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "normalizer.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
];

/// What the scales of the quantized layer at a path are called after it.
const SCALE_SUFFIX: &str = ".weight_scale";

/// Bytes of FP32 parameters beyond which those of a checkpoint stay in their files: 8 GiB, two billion parameters.
pub const IN_MEMORY: usize = 8 << 30;

/// A model between two stages. Cheap to clone: parameters share their storage.
#[derive(Clone)]
pub struct Checkpoint {
    /// `config.json`.
    pub config: Value,
    /// Every parameter by checkpoint name. The weight of a quantized layer is kept in `quantized` alone.
    pub tensors: BTreeMap<String, Parameter>,
    /// Which weights each pruned linear layer keeps, by module path.
    pub masks: BTreeMap<String, Mask>,
    /// The integer weights of each quantized linear layer, by module path.
    pub quantized: BTreeMap<String, QuantizedWeight>,
    /// Tokenizer, feature extractor, generation settings: bytes by file name, carried along unchanged.
    pub companions: Arc<BTreeMap<String, Vec<u8>>>,
}

/// An INT8 weight `[out, in]` with one scale per output channel; activations are quantized per token while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeight {
    /// Values, row-major; a pruned weight is 0. What this crate quantizes is in -127..=127, what others did may hold -128.
    pub values: Arc<[i8]>,
    /// `w = value * scale[row]`, `[out]`.
    pub scales: Arc<[f32]>,
    /// Outputs.
    pub out: usize,
    /// Inputs.
    pub inputs: usize,
}

impl Checkpoint {
    /// Reads a Hugging Face folder as it is: one weight file or several, FP32, FP16 or BF16, dense or `int-quantized`; masks from their
    /// file, or as [`masks::derived`] finds them where there is none. Parameters that take more than [`IN_MEMORY`] together are looked
    /// through and left in their files.
    ///
    /// # Errors
    /// Everything that [`Header::read`] finds, values that are not finite, tied weights that differ, and masks that contradict the
    /// weights.
    pub fn read(folder: &Path) -> Result<Self> {
        Self::read_keeping(folder, IN_MEMORY)
    }

    /// As [`Checkpoint::read`], with another limit: parameters that take more than `limit` bytes as FP32 stay in their files.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_keeping(folder: &Path, limit: usize) -> Result<Self> {
        let header = Header::read(folder)?;
        let parameters: Vec<_> = header.modules().iter().flat_map(Module::parameters).collect();
        let is_quantized = |name: &str| name.strip_suffix(".weight").is_some_and(|path| header.quantized().contains(path));
        let floats: Vec<_> = parameters.iter().filter(|parameter| !is_quantized(&parameter.name)).collect();
        let bytes: usize = floats.iter().map(|parameter| 4 * parameter.shape.iter().product::<usize>()).sum();
        let tensors = floats.par_iter().map(|parameter| {
            let stored = header.parameter(&parameter.name)?;
            // Every value is looked at, also where none is kept.
            let tensor = stored.tensor()?;
            Ok((parameter.name.clone(), if bytes <= limit { tensor.into() } else { stored }))
        });
        let tensors: BTreeMap<String, Parameter> = tensors.collect::<Result<_>>()?;
        check_ties(&header)?;
        let quantized = header.quantized().iter().map(|path| Ok((path.clone(), read_quantized(&header, path)?)));
        let quantized = quantized.collect::<Result<_>>()?;
        let mask_file = folder.join(masks::FILE);
        let mut config = header.config().clone();
        if let Some(fields) = config.as_object_mut() {
            fields.shift_remove(quantization::KEY);
        }
        let checkpoint = Self {
            config,
            masks: match mask_file.exists() {
                true => masks::read(&mask_file)?,
                false => masks::derived(header.modules(), &tensors, &quantized)?,
            },
            tensors,
            quantized,
            companions: Arc::new(companions(folder)?),
        };
        checkpoint.check_masks(header.modules()).map_err(|fault| fault.at(mask_file))?;
        Ok(checkpoint)
    }

    /// BLAKE3 over everything that decides what the model computes: configuration, parameters, masks, integers, companions. Where
    /// it lies and in which files it was stored does not count.
    ///
    /// # Errors
    /// When a parameter is not FP32.
    pub fn content_hash(&self) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |kind: &str, name: &str, shape: &[usize], content: blake3::Hash| {
            hasher.update(format!("{kind} {name:?} {shape:?} ").as_bytes()).update(content.as_bytes());
        };
        add("config", "", &[], blake3::hash(canonical(&self.config).as_bytes()));
        let hashed =
            |(name, parameter): (_, &Parameter)| Ok((name, parameter.dims().to_vec(), hash_floats(&parameter.values()?)));
        let tensors: Vec<(&String, Vec<usize>, _)> = self.tensors.par_iter().map(hashed).collect::<Result<_>>()?;
        for (name, shape, content) in tensors {
            add("tensor", name, &shape, content);
        }
        add("masks", "", &[], masks::hash(&self.masks));
        for (path, weight) in &self.quantized {
            let values: Vec<u8> = weight.values.iter().map(|&value| value as u8).collect();
            add("values", path, &[weight.out, weight.inputs], blake3::hash(&values));
            add("scales", path, &[weight.out], blake3::hash(&little_endian(&weight.scales)));
        }
        for (name, bytes) in self.companions.iter() {
            add("companion", name, &[], blake3::hash(bytes));
        }
        Ok(hasher.finalize())
    }

    /// The share of zeros in the weight of the module at `path`, 0 to 1; none where it has no weight of its own.
    ///
    /// # Errors
    /// When a parameter is not FP32.
    pub fn sparsity(&self, path: &str) -> Result<Option<f64>> {
        let share = |zeros: usize, weights: usize| Some(zeros as f64 / weights.max(1) as f64);
        if let Some(weight) = self.quantized.get(path) {
            return Ok(share(weight.values.iter().filter(|value| **value == 0).count(), weight.values.len()));
        }
        let Some(parameter) = self.tensors.get(&crate::weight::name(path)) else { return Ok(None) };
        let values = parameter.values()?;
        Ok(share(values.iter().filter(|value| **value == 0.0).count(), values.len()))
    }

    /// The companion file `name` as JSON.
    ///
    /// # Errors
    /// When it is not there, or is not JSON.
    pub fn companion_json(&self, name: &str) -> Result<Value> {
        let bytes = self.companions.get(name).ok_or_else(|| {
            Fault::input(format!("the checkpoint has no {name}")).help("download the whole folder, not its weights alone")
        })?;
        serde_json::from_slice(bytes).map_err(|error| Fault::input(format!("this is not JSON: {error}")).at(name))
    }

    /// A mask belongs to a linear layer and has its shape, and a weight that it prunes is zero.
    fn check_masks(&self, modules: &[Module]) -> Result<()> {
        for (path, mask) in &self.masks {
            let linear = modules.iter().find(|module| module.path == *path && module.kind == ModuleKind::Linear);
            if linear.is_none_or(|module| module.shape != [mask.rows(), mask.cols()]) {
                return Err(Fault::input(format!(
                    "the mask of `{path}`, [{}, {}], fits no linear layer",
                    mask.rows(),
                    mask.cols()
                )));
            }
            let pruned_is_zero = match (self.quantized.get(path), self.tensors.get(&format!("{path}.weight"))) {
                (Some(weight), _) => zero_where_pruned(mask, &weight.values, 0),
                (None, Some(parameter)) => zero_where_pruned(mask, &parameter.values()?, 0.0),
                (None, None) => true,
            };
            if !pruned_is_zero {
                return Err(Fault::input(format!("the mask of `{path}` prunes weights that are not zero"))
                    .help("the masks and the weights do not belong together; remove the masks to keep the weights"));
            }
        }
        Ok(())
    }
}

fn zero_where_pruned<T: PartialEq>(mask: &Mask, weight: &[T], zero: T) -> bool {
    let mut rows = weight.chunks_exact(mask.cols().max(1)).enumerate();
    rows.all(|(row, values)| values.iter().enumerate().all(|(col, value)| *value == zero || mask.keeps(row, col)))
}

/// Some writers store tied weights under both names; they must agree.
fn check_ties(header: &Header) -> Result<()> {
    for (copy, original) in header.family().ties(header.config())? {
        if header.shape(&copy).is_some() && header.floats(&copy)? != header.floats(&original)? {
            return Err(Fault::input(format!("`{copy}` and `{original}` are tied in config.json, and differ"))
                .at(header.folder())
                .help("set `tie_word_embeddings` to false if they were trained apart"));
        }
    }
    Ok(())
}

fn read_quantized(header: &Header, path: &str) -> Result<QuantizedWeight> {
    let name = format!("{path}.weight");
    let Some(&[out, inputs]) = header.shape(&name) else {
        return Err(Fault::internal(format!("`{name}` is not a matrix")));
    };
    let values = header.bytes(&name)?.into_iter().map(|byte| byte as i8).collect();
    Ok(QuantizedWeight { values, scales: header.floats(&format!("{path}{SCALE_SUFFIX}"))?.into(), out, inputs })
}

fn companions(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let present = COMPANIONS.iter().map(|name| (name, folder.join(name))).filter(|(_, path)| path.exists());
    present
        .map(|(name, path)| Ok(((*name).to_owned(), std::fs::read(&path).map_err(|error| Fault::reading(&path, &error))?)))
        .collect()
}

/// BLAKE3 of numbers as bytes, some at a time.
fn hash_floats(values: &[f32]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for values in values.chunks(1 << 16) {
        hasher.update(&little_endian(values));
    }
    hasher.finalize()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// JSON with the keys of every object in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> = fields.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{fields:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        scalar => scalar.to_string(),
    }
}

impl QuantizedWeight {
    /// The weight as numbers, `[out, in]` row-major: `value * scale[row]`.
    pub fn dequantized(&self) -> Vec<f32> {
        let rows = self.values.chunks_exact(self.inputs.max(1)).zip(self.scales.iter());
        rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale)).collect()
    }
}

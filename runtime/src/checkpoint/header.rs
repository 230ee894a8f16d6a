//! What a checkpoint folder holds, without its data: configuration, family, and where each parameter lies.
//!
//! Everything that can be wrong with a folder short of its values is found here, in milliseconds: files that are missing or damaged,
//! an unknown architecture, tensors that are missing, too many, of another shape or of a type that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use safetensors::Dtype;
use serde_json::Value;

use super::shard::{Shard, is_float};
use super::{Parameter, SCALE_SUFFIX, quantization};
use crate::model::{self, Family, Module};
use crate::{Fault, Result};

/// The parameters of a checkpoint in one file.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// Which file holds which parameter, where there are several.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The configuration.
pub(super) const CONFIG: &str = "config.json";

/// A checkpoint folder whose headers were read and found to fit its configuration.
pub struct Header {
    folder: PathBuf,
    config: Value,
    family: &'static dyn Family,
    modules: Vec<Module>,
    shards: Vec<Arc<Shard>>,
    /// Every stored tensor by the name that the family gives it.
    tensors: BTreeMap<String, Stored>,
    quantized: BTreeSet<String>,
}

/// Where a tensor lies.
struct Stored {
    /// Index into the shards.
    shard: usize,
    /// Its name in that file.
    name: String,
}

impl Header {
    /// Reads `config.json` and the headers of the weights in `folder`.
    ///
    /// # Errors
    /// Each thing named at the top of this file, with the file and the tensor.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = config(folder)?;
        let at_config = |fault: Fault| fault.at(folder.join(CONFIG));
        let family = model::family(&config).map_err(at_config)?;
        let modules = family.modules(&config).map_err(at_config)?;
        let shards = shards(folder)?;
        let tensors = locate(family, &shards)?;
        let mut header = Self { folder: folder.to_owned(), config, family, modules, shards, tensors, quantized: BTreeSet::new() };
        header.quantized = header.quantized_paths()?;
        header.check()?;
        Ok(header)
    }

    /// Whether there are weights in `folder`, or an index of weights.
    pub fn has_weights(folder: &Path) -> bool {
        folder.join(WEIGHTS).exists() || folder.join(INDEX).exists()
    }

    /// Whether `folder` is a checkpoint whose weights are still to come: nothing in it could be meant for them.
    pub fn is_without_weights(folder: &Path) -> bool {
        let is_bin = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "bin"))
        };
        folder.join(CONFIG).is_file()
            && !Self::has_weights(folder)
            && !std::fs::read_dir(folder).is_ok_and(|mut files| files.any(is_bin))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `config.json`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The family that reads it.
    pub fn family(&self) -> &'static dyn Family {
        self.family
    }

    /// Every module with parameters, in the order of the forward pass.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The paths of the linear layers whose weights are integers.
    pub fn quantized(&self) -> &BTreeSet<String> {
        &self.quantized
    }

    /// Bytes of all files with weights.
    pub fn weight_bytes(&self) -> u64 {
        self.shards.iter().filter_map(|shard| std::fs::metadata(shard.path()).ok()).map(|file| file.len()).sum()
    }

    /// The shape of the tensor `name`, if it is stored.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let stored = self.tensors.get(name)?;
        self.shards[stored.shard].info(&stored.name).map(|info| info.shape.as_slice())
    }

    /// The tensor `name`, which stays in its file.
    pub(super) fn parameter(&self, name: &str) -> Result<Parameter> {
        let (shard, stored) = self.stored(name)?;
        Ok(Parameter::stored(shard, &stored.name, self.shape(name).unwrap_or_default()))
    }

    /// The tensor `name` as FP32.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let (shard, stored) = self.stored(name)?;
        shard.floats(&stored.name)
    }

    /// The bytes of the tensor `name`.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let (shard, stored) = self.stored(name)?;
        shard.bytes(&stored.name)
    }

    /// The file that holds the tensor `name`.
    pub(super) fn file(&self, name: &str) -> Option<&Path> {
        self.tensors.get(name).map(|stored| self.shards[stored.shard].path())
    }

    fn stored(&self, name: &str) -> Result<(&Arc<Shard>, &Stored)> {
        let stored = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        Ok((&self.shards[stored.shard], stored))
    }

    fn missing(&self, name: &str) -> Fault {
        Fault::input(format!("the tensor `{name}` is missing"))
            .at(self.shards.first().map_or(self.folder.as_path(), |shard| shard.path()))
            .help("config.json and the weights do not belong together, or an export was cut short")
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        let stored = self.tensors.get(name)?;
        self.shards[stored.shard].info(&stored.name).map(|info| info.dtype)
    }

    /// The linear layers that are stored as INT8 with a scale per output, if the configuration announces any.
    fn quantized_paths(&self) -> Result<BTreeSet<String>> {
        let is_int8 = |module: &&Module| self.dtype(&format!("{}.weight", module.path)) == Some(Dtype::I8);
        let paths: BTreeSet<String> = self.modules.iter().filter(is_int8).map(|module| module.path.clone()).collect();
        quantization::check(&self.config, !paths.is_empty()).map_err(|fault| fault.at(self.folder.join(CONFIG)))?;
        Ok(paths)
    }

    /// Compares names, shapes and types with what the family expects.
    fn check(&self) -> Result<()> {
        let mut unexpected: BTreeSet<&str> = self.tensors.keys().map(String::as_str).collect();
        for parameter in self.modules.iter().flat_map(Module::parameters) {
            let quantized = parameter.name.strip_suffix(".weight").filter(|path| self.quantized.contains(*path));
            if let Some(path) = quantized {
                let scale = format!("{path}{SCALE_SUFFIX}");
                self.check_tensor(&scale, &[parameter.shape[0], 1], is_float)?;
                unexpected.remove(scale.as_str());
            }
            let readable = |dtype| if quantized.is_some() { dtype == Dtype::I8 } else { is_float(dtype) };
            self.check_tensor(&parameter.name, &parameter.shape, readable)?;
            unexpected.remove(parameter.name.as_str());
        }
        for (copy, original) in self.family.ties(&self.config)? {
            if unexpected.remove(copy.as_str()) {
                self.check_tensor(&copy, self.shape(&original).unwrap_or_default(), is_float)?;
            }
        }
        match unexpected.first() {
            None => Ok(()),
            Some(name) => Err(Fault::input(format!("a {} of this configuration has no tensor `{name}`", self.family.word()))
                .at(self.file(name).unwrap_or(&self.folder))
                .help("config.json and the weights do not belong together, or adapters were not merged into the weights")),
        }
    }

    fn check_tensor(&self, name: &str, shape: &[usize], readable: impl Fn(Dtype) -> bool) -> Result<()> {
        let (shard, stored) = self.stored(name)?;
        let info = shard.info(&stored.name).ok_or_else(|| self.missing(name))?;
        if info.shape != shape {
            return Err(Fault::input(format!("`{name}` has shape {:?}, and config.json makes it {shape:?}", info.shape))
                .at(shard.path())
                .help("config.json and the weights do not belong together"));
        }
        if !readable(info.dtype) {
            return Err(Fault::input(format!("`{name}` is stored as {}, which cannot be read here", info.dtype))
                .at(shard.path())
                .help("save the checkpoint as float32, float16 or bfloat16, or as compressed-tensors `int-quantized` INT8"));
        }
        Ok(())
    }
}

/// `config.json` of `folder`.
///
/// # Errors
/// When the folder is missing, or its configuration is no JSON object.
pub fn config(folder: &Path) -> Result<Value> {
    if !folder.is_dir() {
        return Err(Fault::input("there is no such checkpoint folder").at(folder));
    }
    let config = json(&folder.join(CONFIG))?;
    if config.is_object() { Ok(config) } else { Err(Fault::input("this is not a JSON object").at(folder.join(CONFIG))) }
}

/// The JSON file at `path`.
pub(super) fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|error| Fault::reading(path, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| Fault::input(format!("this is not JSON: {error}")).at(path))
}

/// The headers of all files with weights.
fn shards(folder: &Path) -> Result<Vec<Arc<Shard>>> {
    if folder.join(WEIGHTS).exists() {
        return Ok(vec![Arc::new(Shard::open(&folder.join(WEIGHTS))?)]);
    }
    let index_path = folder.join(INDEX);
    if !index_path.exists() {
        return Err(Fault::input(format!("there is neither {WEIGHTS} nor {INDEX} in this folder"))
            .at(folder)
            .help("weights in PyTorch's .bin files can run any code when they are read: save them as safetensors"));
    }
    let index = json(&index_path)?;
    let files = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| Fault::input("`weight_map` is missing").at(&index_path))?;
    let files: BTreeSet<Option<&str>> = files.values().map(Value::as_str).collect();
    let open = |file| Shard::open(&folder.join(inside(file).map_err(|fault| fault.at(&index_path))?)).map(Arc::new);
    files.into_iter().map(open).collect()
}

/// A file name that stays in its folder.
fn inside(name: Option<&str>) -> Result<&str> {
    let name = name.ok_or_else(|| Fault::input("`weight_map` holds something that is no file name"))?;
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(name),
        _ => Err(Fault::input(format!("`weight_map` points to `{name}`, which is not a file of this folder"))),
    }
}

/// Where each tensor lies, by the name that the family gives it: some checkpoints were saved without the family's first segment.
fn locate(family: &dyn Family, shards: &[Arc<Shard>]) -> Result<BTreeMap<String, Stored>> {
    let mut tensors = BTreeMap::new();
    for (shard, file) in shards.iter().enumerate() {
        for name in file.names() {
            let Some(full) = family.full_name(&name) else { continue };
            if tensors.insert(full, Stored { shard, name: name.clone() }).is_some() {
                return Err(Fault::input(format!("the tensor `{name}` is stored twice")).at(file.path()));
            }
        }
    }
    Ok(tensors)
}

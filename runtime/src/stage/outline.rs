//! How large a model will be, before it is made: what `plan` shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sparsec_kernels::{Element, Layer, Pattern};

use crate::checkpoint::IN_MEMORY;
use crate::model::{self, Module, ModuleKind};
use crate::pruner::{self, Scope};
use crate::report::LayerRecord;
use crate::{Checkpoint, Result};

/// A model without its numbers: modules, which of their weights go, and how the others are stored.
#[derive(Clone, Debug)]
pub struct Outline {
    modules: Vec<Module>,
    /// What is removed, by module path.
    pruned: BTreeMap<String, Pruned>,
    /// The paths whose weights are INT8 with a scale for each output.
    int8: BTreeSet<String>,
    /// What the last stage made of it.
    made: Made,
    /// What that stage held beside models, bytes, and what each token of a batch added.
    work: [u64; 2],
}

/// What of a model its last stage made, and did not take from the model above.
#[derive(Clone, Debug)]
enum Made {
    /// All, from files: where they may stay if it is large.
    Loaded,
    /// All.
    Everything,
    /// The weights of some layers.
    Layers(BTreeSet<String>),
}

/// What is removed from a weight.
#[derive(Clone, Copy, Debug)]
struct Pruned {
    /// The share of it.
    share: f64,
    /// How the rest lies.
    pattern: Pattern,
    /// Whether this is the share of many layers together, and that of this one is still to be found.
    is_mean: bool,
}

/// A layer that will be masked, quantized, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedLayer {
    /// What decides its kernels.
    pub layer: Layer,
    /// Whether its sparsity is the mean of many layers, among which its own is still to be found.
    pub is_mean: bool,
}

/// The memory that a stage takes, bytes, from shapes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The models that it and the stages before it made, which share what no stage changed.
    pub models: u64,
    /// What it needs beside them, at most: weights, gradients and moments in training, Hessians in pruning.
    pub work: u64,
    /// What each token of a batch adds in training, about: what every operation keeps for the way back.
    pub per_token: u64,
}

/// The size of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Parameters, tied ones once.
    pub parameters: u64,
    /// Those that no mask removes; about, where they are still to be removed.
    pub kept: u64,
    /// Bytes of its numbers and masks in a checkpoint folder, headers and companion files left out.
    pub bytes: u64,
}

impl Outline {
    /// The outline of a model that is there.
    ///
    /// # Errors
    /// A configuration that its family does not read.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(Self {
            pruned: checkpoint.masks.iter().map(|(path, mask)| (path.clone(), Pruned::of(mask))).collect(),
            int8: checkpoint.quantized.keys().cloned().collect(),
            ..Self::dense(model::family(&checkpoint.config)?.modules(&checkpoint.config)?)
        })
    }

    /// The outline of a model whose weights are still to come, and are taken to be dense.
    pub fn dense(modules: Vec<Module>) -> Self {
        Self { modules, pruned: BTreeMap::new(), int8: BTreeSet::new(), made: Made::Loaded, work: [0; 2] }
    }

    /// `share` of the weights of `layers` go, in each of them or in sum; more may be gone already.
    pub fn prune(&mut self, layers: &[String], share: f64, pattern: pruner::Pattern, scope: Scope) {
        let pattern = match pattern {
            pruner::Pattern::Unstructured => Pattern::Uniform,
            pruner::Pattern::Groups { kept, of } => Pattern::Group { kept, group: of },
        };
        let asked = Pruned { share, pattern, is_mean: scope == Scope::Global };
        self.change(layers);
        for path in layers {
            let pruned = self.pruned.entry(path.clone()).or_insert(asked);
            if pruned.share <= share {
                *pruned = asked;
            }
        }
    }

    /// What a pruning did that was foreseen so far.
    pub fn pruned(&mut self, layers: &[LayerRecord]) {
        for layer in layers {
            if let Some(pruned) = self.pruned.get_mut(&layer.path) {
                *pruned = Pruned { share: layer.sparsity, is_mean: false, ..*pruned };
            }
        }
    }

    /// A stage begins that takes this model.
    pub fn begin(&mut self) {
        (self.made, self.work) = (Made::Layers(BTreeSet::new()), [0; 2]);
    }

    /// The weights of `layers` become integers.
    pub fn quantize(&mut self, layers: &[String]) {
        self.change(layers);
        self.int8.extend(layers.iter().cloned());
    }

    fn change(&mut self, layers: &[String]) {
        if let Made::Layers(made) = &mut self.made {
            made.extend(layers.iter().cloned());
        }
    }

    /// `layers` are pruned by Hessians of their inputs, one transformer block after the other: its Hessians, one in FP64 and its factor,
    /// and a weight three times.
    pub fn calibrate(&mut self, layers: &[String]) {
        let wanted = |module: &&Module| layers.contains(&module.path) && module.shape.len() == 2;
        let layers: Vec<&Module> = self.modules.iter().filter(wanted).collect();
        let square = |module: &&Module| (module.shape[1] * module.shape[1]) as u64;
        let blocks = layers.chunk_by(|one, other| pruner::transformer_block(&one.path) == pruner::transformer_block(&other.path));
        let held = |block: &[&Module]| {
            let largest = block.iter().map(square).max().unwrap_or(0);
            let weight = block.iter().map(|module| module.shape.iter().product::<usize>() as u64).max().unwrap_or(0);
            4 * block.iter().map(square).sum::<u64>() + 12 * largest + 12 * weight
        };
        self.work[0] = blocks.map(held).max().unwrap_or(0);
    }

    /// All of it is trained, with so many `moments` of each parameter. Every step has weights, gradients and moments; saving the state
    /// copies weights and moments.
    pub fn train(&mut self, moments: u64, has_teacher: bool) {
        let floats = 4 * self.modules.iter().map(|module| module.parameter_count() as u64).sum::<u64>();
        // A teacher in memory serves as it is; one that lies in files is read.
        let read = if has_teacher && floats > IN_MEMORY as u64 { floats } else { 0 };
        let linear = self.modules.iter().filter(|module| module.kind == ModuleKind::Linear && module.shape.len() == 2);
        // A token passes the encoder or the decoder.
        let in_encoder = |module: &&Module| module.path.split('.').any(|segment| segment == "encoder");
        let (encoder, decoder): (Vec<&Module>, Vec<&Module>) = linear.partition(in_encoder);
        let per_token = [encoder, decoder].iter().map(|layers| kept_per_token(layers)).max().unwrap_or(0);
        self.work = [2 * (1 + moments) * floats + read, 4 * per_token];
        self.made = Made::Everything;
    }

    /// The memory of the stage that made it, where those before it hold `before` bytes of models.
    pub fn memory(&self, before: u64) -> Memory {
        let whole = self.size().bytes;
        let made = match &self.made {
            Made::Loaded if whole > IN_MEMORY as u64 => 0,
            Made::Loaded | Made::Everything => whole,
            Made::Layers(layers) => {
                let changed = self.modules.iter().filter(|module| layers.contains(&module.path));
                changed.map(|module| self.module_size(module).bytes).sum()
            }
        };
        Memory { models: before + made, work: self.work[0], per_token: self.work[1] }
    }

    /// Its size.
    pub fn size(&self) -> Size {
        let sizes = self.modules.iter().map(|module| self.module_size(module));
        sizes.fold(Size { parameters: 0, kept: 0, bytes: 0 }, |sum, size| Size {
            parameters: sum.parameters + size.parameters,
            kept: sum.kept + size.kept,
            bytes: sum.bytes + size.bytes,
        })
    }

    fn module_size(&self, module: &Module) -> Size {
        let parameters = module.parameter_count() as u64;
        let mut size = Size { parameters, kept: parameters, bytes: 4 * parameters };
        let weights: u64 = module.shape.iter().map(|&side| side as u64).product();
        let (out, inputs) = (module.shape[0] as u64, module.shape.get(1).map_or(1, |&inputs| inputs as u64));
        if self.int8.contains(&module.path) {
            size.bytes = size.bytes - 3 * weights + 4 * out;
        }
        if let Some(pruned) = self.pruned.get(&module.path) {
            size.kept -= pruned.removed(weights);
            size.bytes += out * inputs.div_ceil(8) + 16;
        }
        size
    }

    /// Its layers that run on the sparse engine, in the order of the forward pass.
    pub fn layers(&self) -> impl Iterator<Item = PlannedLayer> {
        self.modules.iter().filter_map(|module| {
            let pruned = self.pruned.get(&module.path);
            let is_int8 = self.int8.contains(&module.path);
            let [rows, cols] = *module.shape.as_slice() else { return None };
            if pruned.is_none() && !is_int8 {
                return None;
            }
            let weights = (rows * cols) as u64;
            let kept = weights - pruned.map_or(0, |pruned| pruned.removed(weights));
            let layer = Layer {
                rows,
                cols,
                element: if is_int8 { Element::Int8 } else { Element::Fp32 },
                pattern: pruned.map_or(Pattern::Uniform, |pruned| pruned.pattern),
                sparsity: if weights == 0 { 0.0 } else { 1.0 - kept as f64 / weights as f64 },
            };
            Some(PlannedLayer { layer: layer.planned(), is_mean: pruned.is_some_and(|pruned| pruned.is_mean) })
        })
    }
}

impl Pruned {
    fn of(mask: &crate::Mask) -> Self {
        Self { share: mask.sparsity(), pattern: Pattern::of(mask), is_mean: false }
    }

    /// How many of `weights` go.
    fn removed(&self, weights: u64) -> u64 {
        (weights as f64 * self.share).round() as u64
    }
}

/// Numbers that training keeps of one token: the input of each of `layers`, and its output for what follows; and, while the way back is at
/// the widest layer or at the logits, their gradients too.
fn kept_per_token(layers: &[&Module]) -> u64 {
    let sides = |module: &&Module| (module.shape[0] + module.shape[1]) as u64;
    let widest = layers.iter().map(sides).max().unwrap_or(0);
    let logits = layers.iter().map(|module| module.shape[0] as u64).max().unwrap_or(0);
    layers.iter().map(sides).sum::<u64>() + 2 * widest.max(logits) + logits
}

//! How large a model will be, before it is made: what `plan` shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::{self, Module};
use crate::{Checkpoint, Result};

/// A model without its numbers: modules, which of their weights go, and how the others are stored.
#[derive(Clone, Debug)]
pub struct Outline {
    modules: Vec<Module>,
    /// The share of weights that are removed, by module path.
    sparsity: BTreeMap<String, f64>,
    /// The paths whose weights are INT8 with a scale for each output.
    int8: BTreeSet<String>,
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
            sparsity: checkpoint.masks.iter().map(|(path, mask)| (path.clone(), mask.sparsity())).collect(),
            int8: checkpoint.quantized.keys().cloned().collect(),
            ..Self::dense(model::family(&checkpoint.config)?.modules(&checkpoint.config)?)
        })
    }

    /// The outline of a model whose weights are still to come, and are taken to be dense.
    pub fn dense(modules: Vec<Module>) -> Self {
        Self { modules, sparsity: BTreeMap::new(), int8: BTreeSet::new() }
    }

    /// `share` of the weights of each of `layers` go; more may be gone already.
    pub fn prune(&mut self, layers: &[String], share: f64) {
        for path in layers {
            let sparsity = self.sparsity.entry(path.clone()).or_insert(0.0);
            *sparsity = sparsity.max(share);
        }
    }

    /// The weights of `layers` become integers.
    pub fn quantize(&mut self, layers: &[String]) {
        self.int8.extend(layers.iter().cloned());
    }

    /// Its size.
    pub fn size(&self) -> Size {
        let mut size = Size { parameters: 0, kept: 0, bytes: 0 };
        for module in &self.modules {
            let parameters = module.parameter_count() as u64;
            let weights: u64 = module.shape.iter().map(|&side| side as u64).product();
            let (out, inputs) = (module.shape[0] as u64, module.shape.get(1).map_or(1, |&inputs| inputs as u64));
            size.parameters += parameters;
            size.kept += parameters;
            size.bytes += 4 * parameters;
            if self.int8.contains(&module.path) {
                size.bytes = size.bytes - 3 * weights + 4 * out;
            }
            if let Some(sparsity) = self.sparsity.get(&module.path) {
                size.kept -= (weights as f64 * sparsity).round() as u64;
                size.bytes += out * inputs.div_ceil(8) + 16;
            }
        }
        size
    }
}

//! `magnitude`: the weights of least absolute value go, and the others stay as they are.
//!
//! Removes exactly `round(weights * sparsity)`, in each layer or over all of them, or as many of every group; ties by index. Reference: Han et al.,
//! "Learning both Weights and Connections" (arXiv 1506.02626); the two scopes are those of Wanda's baseline (arXiv 2306.11695).

use rayon::prelude::*;

use super::rank::{self, key};
use super::{Calibration, Pattern, PrunedLayer, Pruner, Request};
use crate::weight::{self, Weight};
use crate::{Checkpoint, Fault, Mask, Result, choice, word};

/// Which weights compete with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of one layer: every layer gets the asked sparsity.
    #[default]
    Uniform,
    /// Those of all layers: the asked sparsity holds in sum, and layers of small weights lose more.
    Global,
}

choice! { Scope { Uniform = "uniform", Global = "global" } }

word! {
    /// The weights of least absolute value go, and the others stay as they are.
    pub struct Magnitude = "magnitude" {
        /// Whether weights compete within their layer or with those of all layers.
        scope: Scope = Scope::Uniform,
    }
}

impl Pruner for Magnitude {
    fn scope(&self) -> Scope {
        self.scope
    }

    fn needs_calibration(&self) -> bool {
        false
    }

    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        _: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
    ) -> Result<()> {
        let request = request.checked()?;
        match self.scope {
            Scope::Global if request.pattern != Pattern::Unstructured => {
                Err(Fault::input(format!("with {} every group loses as many, and layers do not compete", request.pattern))
                    .help("write `method: magnitude`"))
            }
            Scope::Uniform => request.layers.chunks(1).try_for_each(|layer| prune_together(checkpoint, request, layer, done)),
            Scope::Global => prune_together(checkpoint, request, request.layers, done),
        }
    }
}

/// Removes the asked share of the weights of all `layers` counted together.
fn prune_together(
    checkpoint: &mut Checkpoint,
    request: &Request<'_>,
    layers: &[String],
    done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
) -> Result<()> {
    let mut weights = Vec::with_capacity(layers.len());
    let mut keys = Vec::new();
    for path in layers {
        let weight = Weight::read(checkpoint, path)?;
        request.pattern.fits(path, weight.inputs)?;
        keys.extend(magnitudes(&weight, &weight.mask(checkpoint, path)?));
        weights.push(weight);
    }
    let before = keys.iter().filter(|&&key| key == rank::REMOVED).count();
    let removed = match request.pattern {
        Pattern::Unstructured => rank::lowest(&keys, request.removals(keys.len()).max(before)),
        Pattern::Groups { kept, of } => rank::lowest_of_each(&keys, of - kept, of),
    };

    let mut start = 0;
    let mut finished = Vec::with_capacity(layers.len());
    for (path, weight) in layers.iter().zip(weights) {
        let removed = &removed[start..start + weight.values.len()];
        start += removed.len();
        let mask = Mask::from_fn(weight.out, weight.inputs, |row, col| !removed[row * weight.inputs + col]);
        drop(weight);
        let notes = if mask.kept() == 0 { vec!["no weight is left".to_owned()] } else { Vec::new() };
        finished.push(PrunedLayer { path: path.clone(), sparsity: mask.sparsity(), relative_error: None, notes });
        weight::remove(checkpoint, path, mask)?;
    }
    done(checkpoint, &finished)
}

/// The rank keys of a weight, row-major.
fn magnitudes(weight: &Weight, mask: &Mask) -> Vec<u32> {
    let rows = weight.values.par_chunks_exact(weight.inputs.max(1)).enumerate();
    rows.flat_map_iter(|(row, values)| {
        values.iter().enumerate().map(move |(col, value)| if mask.keeps(row, col) { key(value.abs()) } else { rank::REMOVED })
    })
    .collect()
}

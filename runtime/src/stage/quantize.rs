//! `quantize`: the weights of linear layers become integers.

use std::sync::Arc;

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::quantizer::Quantizer;
use crate::shelf::{Layers, ModelRef, Shelf};
use crate::weight::{self, Weight};
use crate::{Result, choice, postcondition, row, shelved, word};

word! {
    /// Rounds the weights of linear layers to integers. What a mask removed stays zero.
    pub struct Quantize = "quantize"(
        /// The model.
        model: ModelRef,
    ) {
        /// The layers to quantize.
        layers: Layers,
        /// The number formats of weights and activations.
        scheme: Arc<dyn Scheme>,
        /// How weights are rounded.
        method: Arc<dyn Quantizer>,
    }
}

/// Number formats of weights and activations.
pub trait Scheme: std::fmt::Debug + Send + Sync {}

/// Every scheme.
pub static SCHEMES: Shelf<dyn Scheme> = Shelf::new("scheme", &[row!(dyn Scheme, W8A8)]);
shelved! { dyn Scheme, SCHEMES }

word! {
    /// INT8 weights with a scale per output channel, INT8 activations.
    pub struct W8A8 = "w8a8" {
        /// Where the scales of activations come from: `dynamic` takes them per token, while the model runs.
        activations: Activations = Activations::Dynamic,
    }
}

impl Scheme for W8A8 {}

/// Where the scales of activations come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// From each token while the model runs.
    Dynamic,
}

choice! { Activations { Dynamic = "dynamic" } }

impl Stage for Quantize {
    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_of("model")
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let before = work.model(&self.model)?;
        let mut checkpoint = before.clone();
        for (done, path) in self.layers.0.iter().enumerate() {
            work.go_on()?;
            let dense = Weight::read(&checkpoint, path)?;
            let quantized = self.method.quantize(&dense.values, dense.out, dense.inputs, checkpoint.masks.get(path))?;
            let error = relative_error(&dense.values, &quantized.dequantized());
            checkpoint.tensors.remove(&weight::name(path));
            checkpoint.quantized.insert(path.clone(), quantized);
            work.layer(&checkpoint, path, [dense.out, dense.inputs], Some(error));
            work.progress(done + 1, self.layers.0.len(), "layers");
        }
        postcondition::masks_kept(&before, &checkpoint)?;
        postcondition::all_finite(&checkpoint)?;
        postcondition::something_changed(&before, &checkpoint)?;
        Ok(Output::Model(checkpoint))
    }
}

/// `|w - w'|^2 / |w|^2`; 0 for a weight that is all zero.
fn relative_error(weight: &[f32], rounded: &[f32]) -> f64 {
    let size: f64 = weight.iter().map(|&w| f64::from(w).powi(2)).sum();
    let error: f64 = weight.iter().zip(rounded).map(|(&w, &r)| (f64::from(w) - f64::from(r)).powi(2)).sum();
    if size == 0.0 { 0.0 } else { error / size }
}

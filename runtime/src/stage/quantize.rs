//! `quantize`: the weights of linear layers become integers.

use std::sync::Arc;

use sparsec_compiler::{Kind, Word};

use super::{Inputs, Outline, Output, Stage, Work, word_of};
use crate::quantizer::{Quantizer, Scheme};
use crate::shelf::{Layers, ModelRef};
use crate::weight::Weight;
use crate::{Fault, Result, postcondition, word};

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

impl Stage for Quantize {
    const KEPT: bool = true;

    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_of("model")
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let before = work.model(&self.model)?;
        let mut checkpoint = before.clone();
        let layers = &self.layers.0;
        let mut finished = 0;
        self.scheme.apply(&mut checkpoint, layers, &*self.method, &mut |_| {
            finished += 1;
            work.progress(finished, layers.len(), "layers");
            work.go_on()
        })?;
        postcondition::others_untouched(&before, &checkpoint, layers)?;
        postcondition::masks_kept(&before, &checkpoint)?;
        postcondition::all_finite(&checkpoint)?;
        postcondition::something_changed(&before, &checkpoint)?;
        for path in layers {
            let dense = Weight::read(&before, path)?;
            let quantized = checkpoint.quantized.get(path);
            let quantized = quantized.ok_or_else(|| Fault::running(format!("`{path}` was to be quantized and was not")))?;
            let error = relative_error(&dense.values, &quantized.dequantized());
            work.layer(&checkpoint, path, [dense.out, dense.inputs], Some(error));
        }
        Ok(Output::Model(checkpoint))
    }

    fn outline(&self, _: &dyn Inputs, outline: &mut Outline) -> Result<()> {
        outline.quantize(&self.layers.0);
        Ok(())
    }
}

/// `|w - w'|^2 / |w|^2`; 0 for a weight that is all zero.
fn relative_error(weight: &[f32], rounded: &[f32]) -> f64 {
    let size: f64 = weight.iter().map(|&w| f64::from(w).powi(2)).sum();
    let error: f64 = weight.iter().zip(rounded).map(|(&w, &r)| (f64::from(w) - f64::from(r)).powi(2)).sum();
    if size == 0.0 { 0.0 } else { error / size }
}

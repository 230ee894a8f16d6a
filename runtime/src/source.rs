//! Where the parameters of a model for inference come from: a checkpoint, as it is.

use std::sync::Arc;

use candle_core::Tensor;

use crate::linear::{Dense, Linear, Quantized};
use crate::model::{self, Model, Source};
use crate::{Checkpoint, Fault, Result};

impl Checkpoint {
    /// The model of this checkpoint for inference: dense layers in FP32, quantized ones in the arithmetic of [`Quantized`].
    ///
    /// # Errors
    /// When the configuration and the parameters do not belong together.
    pub fn model(&self) -> Result<Box<dyn Model>> {
        model::family(&self.config)?.build(&self.config, &mut Plain(self))
    }

    /// The parameter `name`, which the configuration makes `shape`.
    ///
    /// # Errors
    /// When there is none, or it has another shape.
    pub(crate) fn parameter(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| Fault::input(format!("the model has no parameter `{name}`")))?;
        match tensor.dims() == shape {
            true => tensor.tensor(),
            false => {
                Err(Fault::input(format!("`{name}` has shape {:?}, and the configuration makes it {shape:?}", tensor.dims())))
            }
        }
    }
}

/// Parameters shared with a checkpoint; nothing is trained, nothing compiled.
pub(crate) struct Plain<'a>(pub(crate) &'a Checkpoint);

impl Source for Plain<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.0.parameter(name, shape)
    }

    fn linear(&mut self, path: &str, out: usize, inputs: usize, bias: bool) -> Result<Linear> {
        let bias = bias.then(|| self.tensor(&format!("{path}.bias"), &[out])).transpose()?;
        Ok(match self.0.quantized.get(path) {
            Some(weight) if (weight.out, weight.inputs) != (out, inputs) => {
                return Err(Fault::input(format!("the integers of `{path}` are not [{out}, {inputs}]")));
            }
            Some(weight) => Linear::new(path, Arc::new(Quantized::new(weight, bias)?)),
            None => Linear::new(path, Arc::new(Dense::new(self.tensor(&format!("{path}.weight"), &[out, inputs])?, bias))),
        })
    }
}

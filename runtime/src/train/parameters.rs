//! The parameters of a model while it trains: variables by checkpoint name, in one fixed order.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use crate::linear::{Dense, Linear};
use crate::model::{self, Model, Source};
use crate::{Checkpoint, Fault, Result};

/// A model whose parameters can be trained.
pub struct Student {
    /// The model, which computes with the variables as they are.
    pub model: Box<dyn Model>,
    /// Every trained parameter.
    pub variables: BTreeMap<String, Var>,
}

impl Student {
    /// Makes every parameter of `checkpoint` a variable, save those that its family keeps frozen.
    ///
    /// # Errors
    /// A quantized layer, for integers have no gradient; a parameter that is missing.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        if let Some(path) = checkpoint.quantized.keys().next() {
            return Err(Fault::input(format!("`{path}` is quantized, and integers cannot be trained"))
                .help("train first, quantize last"));
        }
        let mut source = Trainable { checkpoint, variables: BTreeMap::new() };
        let model = model::family(&checkpoint.config)?.build(&checkpoint.config, &mut source)?;
        Ok(Self { model, variables: source.variables })
    }

    /// The values of the variable `name`.
    ///
    /// # Errors
    /// When there is no such variable.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.variable(name)?.as_tensor().flatten_all()?.to_vec1()?)
    }

    /// Replaces the values of the variable `name`.
    ///
    /// # Errors
    /// When there is no such variable, or its shape is another.
    pub fn set(&self, name: &str, values: Vec<f32>) -> Result<()> {
        let variable = self.variable(name)?;
        Ok(variable.set(&Tensor::from_vec(values, variable.dims(), variable.device())?)?)
    }

    fn variable(&self, name: &str) -> Result<&Var> {
        self.variables.get(name).ok_or_else(|| Fault::internal(format!("`{name}` is not trained")))
    }

    /// `checkpoint` with the values that the variables have now.
    ///
    /// # Errors
    /// None but bugs of ours.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let mut trained = checkpoint.clone();
        for (name, variable) in &self.variables {
            trained.tensors.insert(name.clone(), variable.as_tensor().copy()?);
        }
        Ok(trained)
    }
}

/// Builds a model out of variables.
struct Trainable<'a> {
    checkpoint: &'a Checkpoint,
    variables: BTreeMap<String, Var>,
}

impl Source for Trainable<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        if let Some(variable) = self.variables.get(name) {
            return Ok(variable.as_tensor().clone());
        }
        let variable = Var::from_tensor(&self.frozen(name, shape)?)?;
        let tensor = variable.as_tensor().clone();
        self.variables.insert(name.to_owned(), variable);
        Ok(tensor)
    }

    fn frozen(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.checkpoint.tensors.get(name);
        let tensor = tensor.ok_or_else(|| Fault::input(format!("the model has no parameter `{name}`")))?;
        if tensor.dims() != shape {
            return Err(Fault::input(format!("`{name}` has shape {:?}, and the configuration makes it {shape:?}", tensor.dims())));
        }
        Ok(tensor.clone())
    }

    fn linear(&mut self, path: &str, out: usize, inputs: usize, bias: bool) -> Result<Linear> {
        let weight = self.tensor(&format!("{path}.weight"), &[out, inputs])?;
        let bias = bias.then(|| self.tensor(&format!("{path}.bias"), &[out])).transpose()?;
        Ok(Linear::new(path, Arc::new(Dense::new(weight, bias))))
    }
}

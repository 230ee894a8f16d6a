//! The model that learns: its parameters as variables, and the optimizer's moments beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use super::gradients::Gradients;
use crate::linear::{Dense, Linear};
use crate::model::{self, Model, Source};
use crate::optimizer::Optimizer;
use crate::run::Snapshot;
use crate::{Checkpoint, Fault, Mask, Result, op};

/// A model whose parameters are trained.
pub(super) struct Student {
    /// The model, which computes with the variables as they are.
    pub(super) model: Box<dyn Model>,
    /// Every trained parameter by its checkpoint name.
    pub(super) variables: BTreeMap<String, Var>,
    /// What the optimizer remembers of each.
    moments: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Student {
    /// Makes every parameter of `checkpoint` a variable, save those that its family keeps frozen, each with `moments` vectors.
    ///
    /// # Errors
    /// A quantized layer, for integers have no gradient; a parameter that is missing.
    pub(super) fn new(checkpoint: &Checkpoint, moments: usize) -> Result<Self> {
        if let Some(path) = checkpoint.quantized.keys().next() {
            return Err(
                Fault::input(format!("`{path}` is quantized, and integers cannot be trained")).help("train first, quantize last")
            );
        }
        let mut source = Trainable { checkpoint, variables: BTreeMap::new() };
        let model = model::family(&checkpoint.config)?.build(&checkpoint.config, &mut source)?;
        let zeros = |variable: &Var| vec![vec![0.0; variable.elem_count()]; moments];
        let moments = source.variables.iter().map(|(name, variable)| (name.clone(), zeros(variable))).collect();
        Ok(Self { model, variables: source.variables, moments })
    }

    /// Moves every parameter along its gradient; weights that `masks` removes are zero afterwards.
    pub(super) fn follow(
        &mut self,
        gradients: &Gradients,
        optimizer: &dyn Optimizer,
        step: u64,
        rate: f64,
        masks: &BTreeMap<String, Mask>,
    ) -> Result<()> {
        for (name, gradient) in gradients.iter() {
            let variable = self.variables.get(name).ok_or_else(|| unknown(name))?;
            let moments = self.moments.get_mut(name).ok_or_else(|| unknown(name))?;
            op::in_place(variable, |values| {
                optimizer.step(step, rate, values, gradient, moments);
                if let Some(mask) = mask_of(masks, name) {
                    mask.apply(values);
                }
            })?;
        }
        Ok(())
    }

    /// Replaces the values of the variable `name`.
    pub(super) fn set(&self, name: &str, values: Vec<f32>) -> Result<()> {
        let variable = self.variables.get(name).ok_or_else(|| unknown(name))?;
        Ok(variable.set(&Tensor::from_vec(values, variable.dims(), variable.device())?)?)
    }

    /// `base` with the values that the variables have now.
    pub(super) fn checkpoint(&self, base: &Checkpoint) -> Result<Checkpoint> {
        let mut trained = base.clone();
        for (name, variable) in &self.variables {
            trained.tensors.insert(name.clone(), variable.as_detached_tensor().copy()?.into());
        }
        Ok(trained)
    }

    /// The moments as tensors, `0/<name>`, `1/<name>`, …
    pub(super) fn moments(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            for (index, moment) in moments.iter().enumerate() {
                let tensor = Tensor::from_slice(moment, moment.len(), &candle_core::Device::Cpu)?;
                tensors.insert(format!("{index}/{name}"), tensor);
            }
        }
        Ok(tensors)
    }

    /// Goes back to the parameters and moments of `snapshot`.
    ///
    /// # Errors
    /// When it is the snapshot of another model.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let missing = |name: &str| Fault::internal(format!("the saved state of this stage has no `{name}`"));
        for name in self.variables.keys() {
            let tensor = snapshot.checkpoint.tensors.get(name).ok_or_else(|| missing(name))?;
            self.set(name, tensor.values()?)?;
        }
        for (name, moments) in &mut self.moments {
            for (index, moment) in moments.iter_mut().enumerate() {
                let tensor = snapshot.extra.get(&format!("{index}/{name}")).ok_or_else(|| missing(name))?;
                *moment = tensor.to_vec1()?;
            }
        }
        Ok(())
    }
}

/// The fault for a name that no trained parameter has.
fn unknown(name: &str) -> Fault {
    Fault::internal(format!("`{name}` is not trained"))
}

/// The mask of the parameter `name`, if it is the weight of a masked layer.
pub(super) fn mask_of<'a>(masks: &'a BTreeMap<String, Mask>, name: &str) -> Option<&'a Mask> {
    masks.get(name.strip_suffix(".weight")?)
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
        self.checkpoint.parameter(name, shape)
    }

    fn linear(&mut self, path: &str, out: usize, inputs: usize, bias: bool) -> Result<Linear> {
        let weight = self.tensor(&format!("{path}.weight"), &[out, inputs])?;
        let bias = bias.then(|| self.tensor(&format!("{path}.bias"), &[out])).transpose()?;
        Ok(Linear::new(path, Arc::new(Dense::new(weight, bias))))
    }
}

//! The weight of one linear layer, taken out of a checkpoint to be worked on and put back.
//!
//! Pruners, quantizers, exporters and checks share this one door, so that they agree on what a usable weight is: FP32, two
//! dimensions, every value finite, not quantized yet.

use candle_core::{Device, Tensor};

use crate::{Checkpoint, Fault, Mask, Result};

/// A weight `[out, in]`, row-major.
///
/// *Invariant*: `values.len() == out * inputs`, and every value was finite when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The values, `[out, in]`.
    pub values: Vec<f32>,
    /// Outputs.
    pub out: usize,
    /// Inputs.
    pub inputs: usize,
}

impl Weight {
    /// Reads the weight of the layer at module path `path`.
    ///
    /// # Errors
    /// When the layer is missing, is quantized already, is no matrix, or holds a value that is not finite.
    pub fn read(checkpoint: &Checkpoint, path: &str) -> Result<Self> {
        if checkpoint.quantized.contains_key(path) {
            return Err(Fault::input(format!("`{path}` is quantized already, and its integers cannot be worked on"))
                .help("prune and train first, quantize last"));
        }
        let parameter = checkpoint.tensors.get(&name(path)).ok_or_else(|| {
            Fault::input(format!("this model has no weight for `{path}`")).help(
                "leave it out of the selected layers; an output head that is tied to the embedding has no weight of its own",
            )
        })?;
        let &[out, inputs] = parameter.dims() else {
            return Err(Fault::input(format!("the weight of `{path}` has shape {:?}, not [out, in]", parameter.dims())));
        };
        let values = parameter.values()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Fault::input(format!(
                "the weight of `{path}` holds {} at row {}, column {}",
                values[at],
                at / inputs,
                at % inputs
            ))
            .help("train or download the checkpoint again; a model with values that are not finite cannot be compressed"));
        }
        Ok(Self { values, out, inputs })
    }

    /// Writes the weight back as the one of the layer at `path`.
    pub fn write(self, checkpoint: &mut Checkpoint, path: &str) -> Result<()> {
        let parameter =
            checkpoint.tensors.get_mut(&name(path)).ok_or_else(|| Fault::internal(format!("no weight for `{path}`")))?;
        *parameter = Tensor::from_vec(self.values, (self.out, self.inputs), &Device::Cpu)?.into();
        Ok(())
    }

    /// The mask of this layer in `checkpoint`; all kept where it has none.
    ///
    /// # Errors
    /// When the mask has another shape than the weight.
    pub fn mask(&self, checkpoint: &Checkpoint, path: &str) -> Result<Mask> {
        match checkpoint.masks.get(path) {
            None => Ok(Mask::from_fn(self.out, self.inputs, |_, _| true)),
            Some(mask) if (mask.rows(), mask.cols()) == (self.out, self.inputs) => Ok(mask.clone()),
            Some(mask) => Err(Fault::input(format!(
                "the mask of `{path}` is [{}, {}], its weight [{}, {}]",
                mask.rows(),
                mask.cols(),
                self.out,
                self.inputs
            ))),
        }
    }
}

/// Removes what `mask` does not keep of the layer at `path`, and nothing else of it: its weight stays where it lies.
///
/// # Errors
/// A layer without a weight of the mask's size.
pub fn remove(checkpoint: &mut Checkpoint, path: &str, mask: Mask) -> Result<()> {
    let parameter = checkpoint.tensors.get_mut(&name(path)).ok_or_else(|| Fault::internal(format!("no weight for `{path}`")))?;
    *parameter = parameter.masked(&mask)?;
    checkpoint.masks.insert(path.to_owned(), mask);
    Ok(())
}

/// The checkpoint name of the weight of the module at `path`.
pub fn name(path: &str) -> String {
    format!("{path}.weight")
}

//! One parameter of a checkpoint: in memory, or still in the file that it came from.
//!
//! What is in a file is read whenever it is asked for and not kept, so that a model larger than the memory can be worked on layer by
//! layer. The file is held open and read, not mapped: one that somebody cuts short while it is in use is then a fault and not the end
//! of the process. Changing a parameter never changes its file; what a mask removes is made zero while it is read.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use sparsec_kernels::Mask;

use super::shard::Shard;
use crate::{Fault, Result};

/// A parameter, FP32 to whoever asks for its values. Cheap to clone.
#[derive(Clone)]
pub struct Parameter(Place);

#[derive(Clone)]
enum Place {
    Memory(Tensor),
    File(Stored),
}

/// A tensor of a file.
#[derive(Clone)]
struct Stored {
    shard: Arc<Shard>,
    /// Its name in that file.
    name: Arc<str>,
    shape: Arc<[usize]>,
    /// Which of its values are kept; all where there is none.
    mask: Option<Arc<Mask>>,
}

impl From<Tensor> for Parameter {
    fn from(tensor: Tensor) -> Self {
        Self(Place::Memory(tensor))
    }
}

impl Parameter {
    /// The tensor `name` of the file `shard`, which stays there.
    pub(super) fn stored(shard: &Arc<Shard>, name: &str, shape: &[usize]) -> Self {
        Self(Place::File(Stored { shard: Arc::clone(shard), name: name.into(), shape: shape.into(), mask: None }))
    }

    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        match &self.0 {
            Place::Memory(tensor) => tensor.dims(),
            Place::File(stored) => &stored.shape,
        }
    }

    /// Its values, row-major.
    ///
    /// # Errors
    /// A file that was cut short since it was opened, or values of it that are not finite.
    pub fn values(&self) -> Result<Vec<f32>> {
        match &self.0 {
            Place::Memory(tensor) => Ok(tensor.flatten_all()?.to_vec1()?),
            Place::File(stored) => {
                let mut values = stored.shard.floats(&stored.name)?;
                if let Some(mask) = &stored.mask {
                    mask.apply(&mut values);
                }
                Ok(values)
            }
        }
    }

    /// It as a tensor.
    ///
    /// # Errors
    /// As [`Parameter::values`].
    pub fn tensor(&self) -> Result<Tensor> {
        match &self.0 {
            Place::Memory(tensor) => Ok(tensor.clone()),
            Place::File(stored) => Ok(Tensor::from_vec(self.values()?, &*stored.shape, &Device::Cpu)?),
        }
    }

    /// It without the weights that `mask` removes.
    ///
    /// # Errors
    /// When it is no matrix of the mask's size.
    pub fn masked(&self, mask: &Mask) -> Result<Self> {
        if self.dims() != [mask.rows(), mask.cols()] {
            let message = format!("a mask [{}, {}] for a parameter {:?}", mask.rows(), mask.cols(), self.dims());
            return Err(Fault::internal(message));
        }
        Ok(match &self.0 {
            Place::Memory(tensor) => {
                let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
                mask.apply(&mut values);
                Tensor::from_vec(values, tensor.shape(), tensor.device())?.into()
            }
            Place::File(stored) => Self(Place::File(Stored { mask: Some(Arc::new(mask.clone())), ..stored.clone() })),
        })
    }

    /// Whether it has the bits of `other`.
    ///
    /// # Errors
    /// As [`Parameter::values`].
    pub fn same_bits(&self, other: &Self) -> Result<bool> {
        let is_one = match (&self.0, &other.0) {
            (Place::Memory(one), Place::Memory(other)) => one.id() == other.id(),
            (Place::File(one), Place::File(other)) => {
                Arc::ptr_eq(&one.shard, &other.shard) && one.name == other.name && one.mask == other.mask
            }
            _ => false,
        };
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        Ok(is_one || self.dims() == other.dims() && bits(self.values()?) == bits(other.values()?))
    }

    /// Whether its values lie in a file.
    pub fn is_stored(&self) -> bool {
        matches!(self.0, Place::File(_))
    }

    /// The type of its numbers where they lie.
    pub(super) fn dtype(&self) -> Dtype {
        match &self.0 {
            Place::Memory(_) => Dtype::F32,
            Place::File(stored) => stored.shard.info(&stored.name).map_or(Dtype::F32, |info| info.dtype),
        }
    }

    /// Its values as they lie, little-endian: written so, nothing is rounded and nothing grows.
    ///
    /// # Errors
    /// As [`Parameter::values`].
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        match &self.0 {
            Place::Memory(_) => Ok(super::little_endian(&self.values()?)),
            Place::File(Stored { shard, name, mask: None, .. }) => shard.bytes(name),
            Place::File(Stored { shard, name, mask: Some(mask), .. }) => {
                let mut bytes = shard.bytes(name)?;
                let width = bytes.len() / (mask.rows() * mask.cols()).max(1);
                let rows = bytes.chunks_exact_mut(mask.cols() * width).enumerate();
                for (row, values) in rows {
                    for (col, value) in values.chunks_exact_mut(width).enumerate() {
                        if !mask.keeps(row, col) {
                            value.fill(0);
                        }
                    }
                }
                Ok(bytes)
            }
        }
    }
}

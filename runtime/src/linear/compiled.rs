//! A sparse product by the kernel that was chosen for the layer: machine code made for its mask, compressed weights, or dense.

use candle_core::Tensor;
use sparsec_kernels::SparseLinear;

use super::Product;
use crate::quantizer::round_tokens;
use crate::{Fault, Result};

/// A product by a kernel; for inference only.
pub struct Compiled {
    kernel: SparseLinear,
    /// Whether activations are rounded to INT8 per token first, as [`super::Quantized`] does.
    rounds: bool,
}

impl Compiled {
    /// The product of `kernel`; its values are the expanded integers of a quantized layer if `rounds`.
    pub fn new(kernel: SparseLinear, rounds: bool) -> Self {
        Self { kernel, rounds }
    }
}

impl Product for Compiled {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        let mut dims = x.dims().to_vec();
        let tokens = values.len() / self.kernel.cols().max(1);
        if dims.pop() != Some(self.kernel.cols()) {
            return Err(Fault::internal(format!("a layer of {} inputs was given {:?}", self.kernel.cols(), x.dims())));
        }
        if self.rounds {
            round_tokens(&mut values, self.kernel.cols());
        }
        let mut y = vec![0.0; tokens * self.kernel.rows()];
        self.kernel
            .forward(&values, tokens, &mut y)
            .map_err(|error| Fault::internal(format!("a compiled product failed: {error}")))?;
        dims.push(self.kernel.rows());
        Ok(Tensor::from_vec(y, dims, x.device())?)
    }
}

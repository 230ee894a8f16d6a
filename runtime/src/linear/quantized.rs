//! W8A8 in FP32 arithmetic: the integers of the weight expanded once, activations rounded per token while it runs.
//!
//! The plain reference of the INT8 kernels: what they compute, up to the rounding of FP32 additions.

use candle_core::{Device, Tensor};

use super::{Dense, Product};
use crate::checkpoint::QuantizedWeight;
use crate::quantizer::round_tokens;
use crate::{Fault, Result};

/// A product with an INT8 weight; for inference only.
pub struct Quantized {
    dense: Dense,
    inputs: usize,
}

impl Quantized {
    /// `bias: [out]`.
    ///
    /// # Errors
    /// When the weight's parts do not fit each other.
    pub fn new(weight: &QuantizedWeight, bias: Option<Tensor>) -> Result<Self> {
        let expanded = Tensor::from_vec(weight.dequantized(), (weight.out, weight.inputs), &Device::Cpu)?;
        Ok(Self { dense: Dense::new(expanded, bias), inputs: weight.inputs })
    }
}

impl Product for Quantized {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return Err(Fault::internal("rounding activations is written for the CPU"));
        }
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        round_tokens(&mut values, self.inputs);
        self.dense.forward(&Tensor::from_vec(values, x.shape(), x.device())?)
    }
}

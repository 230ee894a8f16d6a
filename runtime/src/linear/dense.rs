//! A dense FP32 weight.

use candle_core::Tensor;

use super::Product;
use crate::{Result, op};

/// `x W^T + b` with both as they are; differentiable, so that training and inference share it.
pub struct Dense {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Dense {
    /// `weight: [out, in]`, `bias: [out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }
}

impl Product for Dense {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        op::linear(x, &self.weight, self.bias.as_ref())
    }
}

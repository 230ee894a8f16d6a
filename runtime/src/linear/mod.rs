//! The linear operator: the only place that knows how a weight is stored.
//!
//! Model files call [`Linear::forward`] and never ask whether the weight is dense, trained, quantized or machine code made for a
//! mask. Calibration reads what goes into a layer through [`Taps`](crate::model::Taps).

mod compiled;
mod dense;
mod feed_forward;
mod quantized;

use std::sync::Arc;

use candle_core::Tensor;
use sparsec_kernels::{Activation, SparseLinear};

pub use compiled::Compiled;
pub use dense::Dense;
pub use feed_forward::FeedForward;
pub use quantized::Quantized;

use crate::model::Taps;
use crate::{Result, op};

/// `y = x W^T + b`, `x: [.., in]`, `y: [.., out]`, by whatever means the weight is kept.
pub trait Product: Send + Sync {
    /// The product without gradients or with them, as the kind of weight allows.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// The kernel, where it is one.
    fn kernel(&self) -> Option<&SparseLinear> {
        None
    }

    /// The product and what follows it; in one pass where the means allow it.
    fn forward_then(&self, x: &Tensor, then: Then) -> Result<Tensor> {
        let mut y = self.forward(x)?;
        if let Some(activation) = then.activation {
            y = op::activate(&y, activation)?;
        }
        match then.residual {
            Some(residual) => op::add(residual, &y),
            None => Ok(y),
        }
    }
}

/// What follows a product: `residual + activation(y)`.
#[derive(Clone, Copy, Default)]
pub struct Then<'a> {
    /// A function of each result.
    pub activation: Option<Activation>,
    /// What is added to the results then, `[.., out]`.
    pub residual: Option<&'a Tensor>,
}

impl<'a> Then<'a> {
    /// A function of each result.
    pub fn activation(activation: Activation) -> Self {
        Self { activation: Some(activation), residual: None }
    }

    /// The sum with `residual`, `[.., out]`.
    pub fn residual(residual: &'a Tensor) -> Self {
        Self { activation: None, residual: Some(residual) }
    }
}

/// A linear layer of a model under its module path, such as `model.decoder.layers.0.fc1`.
#[derive(Clone)]
pub struct Linear {
    path: Arc<str>,
    product: Arc<dyn Product>,
}

impl Linear {
    /// The layer at `path`, computed by `product`.
    pub fn new(path: &str, product: Arc<dyn Product>) -> Self {
        Self { path: path.into(), product }
    }

    /// The kernel, where the product is one.
    fn kernel(&self) -> Option<&SparseLinear> {
        self.product.kernel()
    }

    /// `x: [.., in] -> [.., out]`; `taps` sees `x` first.
    pub fn forward(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        self.forward_then(x, Then::default(), taps)
    }

    /// As [`Linear::forward`], and `then` what follows.
    pub fn forward_then(&self, x: &Tensor, then: Then, taps: &mut dyn Taps) -> Result<Tensor> {
        taps.linear_input(&self.path, x)?;
        self.product.forward_then(x, then)
    }
}

//! The linear operator: the only place that knows how a weight is stored.
//!
//! Model files call [`Linear::forward`] and never ask whether the weight is dense, trained, quantized or machine code made for a
//! mask. Calibration reads what goes into a layer through [`Taps`](crate::model::Taps).

mod compiled;
mod dense;
mod quantized;

use std::sync::Arc;

use candle_core::Tensor;

pub use compiled::Compiled;
pub use dense::Dense;
pub use quantized::Quantized;

use crate::Result;
use crate::model::Taps;

/// `y = x W^T + b`, `x: [.., in]`, `y: [.., out]`, by whatever means the weight is kept.
pub trait Product: Send + Sync {
    /// The product without gradients or with them, as the kind of weight allows.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
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

    /// `x: [.., in] -> [.., out]`; `taps` sees `x` first.
    pub fn forward(&self, x: &Tensor, taps: &mut dyn Taps) -> Result<Tensor> {
        taps.linear_input(&self.path, x)?;
        self.product.forward(x)
    }
}

//! The shelf of quantizers: from FP32 weights to integers and scales.

use crate::checkpoint::QuantizedWeight;
use crate::{Mask, Result};

/// A way to round a weight matrix to INT8 with one scale per output channel.
pub trait Quantizer: Send + Sync {
    /// Rounds `weight` `[out, in]`, row-major. A weight that `mask` prunes becomes 0 and stays 0.
    ///
    /// # Errors
    /// Weights that are not finite.
    fn quantize(&self, weight: &[f32], out: usize, inputs: usize, mask: Option<&Mask>) -> Result<QuantizedWeight>;
}

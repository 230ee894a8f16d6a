//! The shelf of quantizers: from FP32 weights to integers and scales.
//!
//! Every quantizer keeps these promises, and the contract tests below hold every row of the table to them: a weight comes back
//! within half a scale, a zero comes back as zero, what a mask removes is 0, and a value that is not finite is a fault.

use sparsec_kernels::element::int8::{round, symmetric_scale};

use crate::checkpoint::QuantizedWeight;
use crate::shelf::Shelf;
use crate::{Checkpoint, Mask, Result, row, shelved};

mod activation;
mod rtn;
mod w8a8;

pub use activation::round_tokens;
pub use rtn::Rtn;
pub use w8a8::{Activations, W8A8};

/// A way to round a weight matrix to INT8 with one scale per output channel.
pub trait Quantizer: std::fmt::Debug + Send + Sync {
    /// Rounds `weight` `[out, in]`, row-major. A weight that `mask` prunes becomes 0 and stays 0.
    ///
    /// # Errors
    /// Weights that are not finite.
    fn quantize(&self, weight: &[f32], out: usize, inputs: usize, mask: Option<&Mask>) -> Result<QuantizedWeight>;
}

/// Every quantizer.
pub static QUANTIZERS: Shelf<dyn Quantizer> = Shelf::new("quantizer", &[row!(dyn Quantizer, Rtn)]);
shelved! { dyn Quantizer, QUANTIZERS }

/// Every combination of number formats.
pub static SCHEMES: Shelf<dyn Scheme> = Shelf::new("scheme", &[row!(dyn Scheme, W8A8)]);
shelved! { dyn Scheme, SCHEMES }

/// Which number formats weights and activations get.
pub trait Scheme: std::fmt::Debug + Send + Sync {
    /// Quantizes `layers` in place, weights rounded by `quantizer`; calls `done` after each, whose fault ends the work at once.
    ///
    /// # Errors
    /// A layer without a weight of its own, or one that is quantized already; weights that are not finite.
    fn apply(
        &self,
        checkpoint: &mut Checkpoint,
        layers: &[String],
        quantizer: &dyn Quantizer,
        done: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every row of the table.
    fn quantizers() -> Vec<(&'static str, Box<dyn Quantizer>)> {
        vec![("rtn", Box::new(Rtn {}))]
    }

    proptest! {
        #[test]
        fn weights_come_back_within_half_a_scale(
            weight in prop::collection::vec(prop_oneof![Just(0f32), -1f32..1.0, -1e-30f32..1e-30, -1e30f32..1e30, Just(1e-44)], 6 * 11)
        ) {
            let mask = Mask::from_fn(6, 11, |row, col| (row + col) % 3 != 0);
            for (name, quantizer) in quantizers() {
                for mask in [None, Some(&mask)] {
                    let quantized = quantizer.quantize(&weight, 6, 11, mask).unwrap();
                    prop_assert_eq!((quantized.out, quantized.inputs, quantized.scales.len()), (6, 11, 6));
                    let back = quantized.dequantized();
                    for (at, (&from, &to)) in weight.iter().zip(&back).enumerate() {
                        let scale = quantized.scales[at / 11];
                        if mask.is_some_and(|mask| !mask.keeps(at / 11, at % 11)) || from == 0.0 {
                            prop_assert_eq!((to, quantized.values[at]), (0.0, 0), "{}", name);
                        } else {
                            prop_assert!((from - to).abs() <= scale * 0.500_001, "{}: {} became {} at scale {}", name, from, to, scale);
                        }
                        prop_assert!(quantized.values[at] != -128);
                    }
                }
            }
        }
    }

    #[test]
    fn every_row_is_tested() {
        for name in QUANTIZERS.names() {
            assert!(quantizers().iter().any(|(tested, _)| *tested == name), "`{name}` is in the table and not in these tests");
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_a_fault() {
        for (name, quantizer) in quantizers() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert!(quantizer.quantize(&[1.0, bad], 1, 2, None).is_err(), "{name}");
            }
        }
    }
}

//! `rtn`: rounds every weight to the nearest value of its row's grid; no data, no search.
//!
//! Symmetric per output channel: `scale = max |w| / 127`, `q = round(w / scale)`, halves to even.

use super::{Quantizer, round, symmetric_scale};
use crate::checkpoint::QuantizedWeight;
use crate::{Fault, Mask, Result, word};

word! {
    /// Rounds every weight to the nearest value of its row's grid; no data, no search.
    pub struct Rtn = "rtn";
}

impl Quantizer for Rtn {
    fn quantize(&self, weight: &[f32], out: usize, inputs: usize, mask: Option<&Mask>) -> Result<QuantizedWeight> {
        let mut weight = weight.to_vec();
        if let Some(mask) = mask {
            mask.apply(&mut weight);
        }
        if let Some(at) = weight.iter().position(|value| !value.is_finite()) {
            return Err(Fault::input(format!(
                "{} at row {}, column {} cannot be quantized",
                weight[at],
                at / inputs,
                at % inputs
            )));
        }
        let rows = || weight.chunks_exact(inputs.max(1));
        let scales: Vec<f32> = rows().map(symmetric_scale).collect();
        let values = rows().zip(&scales).flat_map(|(row, &scale)| row.iter().map(move |&value| round(value, scale) as i8));
        Ok(QuantizedWeight { values: values.collect(), scales: scales.into(), out, inputs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_own_grid_and_halves_go_to_even() {
        let weight = [127.0, 0.5, 1.5, -2.5, -127.0, 12.7, -0.635, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let quantized = Rtn {}.quantize(&weight, 3, 5, None).unwrap();
        assert_eq!(quantized.values[..], [127, 0, 2, -2, -127, 127, -6, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(quantized.scales[..], [1.0, 0.1, f32::EPSILON]);
        let one_row_less = Mask::from_fn(3, 5, |row, col| row != 1 || col != 0);
        let quantized = Rtn {}.quantize(&weight, 3, 5, Some(&one_row_less)).unwrap();
        assert_eq!(quantized.scales[1], 0.635 / 127.0, "a pruned weight does not widen its row's grid");
    }
}

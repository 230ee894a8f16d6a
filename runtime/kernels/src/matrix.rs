//! A weight matrix together with its mask, and the plain product that every kernel is compared with.
//!
//! Letters of this crate: `rows` are outputs, `cols` are inputs, `tokens` are the rows of the activations.

use std::sync::Arc;

use crate::Mask;
use crate::element::{Element, Values};
use crate::error::{Result, expect_length};

/// A `[rows, cols]` matrix of one element, of which only the weights in `mask` are kept.
///
/// *Invariant*: the values fit the shape of the mask, and every pruned one is zero.
#[derive(Clone, Debug)]
pub struct SparseMatrix {
    mask: Arc<Mask>,
    values: Values,
}

impl SparseMatrix {
    /// Keeps the FP32 weights of the row-major `[rows, cols]` matrix that `mask` keeps.
    ///
    /// # Errors
    /// When `weights` does not hold `rows * cols` values.
    pub fn new(weights: &[f32], mask: Mask) -> Result<Self> {
        Self::of(Values::Fp32(weights.to_vec()), mask)
    }

    /// Keeps the values that `mask` keeps.
    ///
    /// # Errors
    /// When there are not `rows * cols` values and, where the element has them, as many scales as rows, finite and positive.
    pub fn of(mut values: Values, mask: impl Into<Arc<Mask>>) -> Result<Self> {
        let mask = mask.into();
        values.check(mask.rows(), mask.cols())?;
        values.prune(&mask);
        Ok(Self { mask, values })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.mask.rows()
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.mask.cols()
    }

    /// Which weights are kept.
    pub fn mask(&self) -> &Arc<Mask> {
        &self.mask
    }

    /// How the weights are stored.
    pub fn element(&self) -> Element {
        self.values.element()
    }

    /// The stored values, zeros where pruned.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// One weight, its scale multiplied in.
    pub fn weight(&self, row: usize, col: usize) -> f32 {
        self.values.weight(row, col, self.cols())
    }

    /// Every weight, its scale multiplied in: `[rows, cols]` row-major, zeros where pruned.
    pub fn expand(&self) -> Vec<f32> {
        (0..self.rows()).flat_map(|row| (0..self.cols()).map(move |col| self.weight(row, col))).collect()
    }

    /// Kept weights of one row with their columns, left to right.
    pub fn kept(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.mask.kept_cols(row).map(move |col| (col, self.weight(row, col)))
    }

    /// The plain product: `y[token][row] = bias[row] + sum of weight * x[token][col]` over kept weights alone, summed in FP64, of
    /// activations rounded as the element wants them. `x: [tokens, cols]`, `y: [tokens, rows]`, `bias: [rows]`, row-major.
    ///
    /// # Errors
    /// When a length is not what its shape says.
    pub fn product(&self, x: &[f32], tokens: usize, bias: &[f32], y: &mut [f32]) -> Result<()> {
        expect_length("activations", x.len(), tokens.saturating_mul(self.cols()))?;
        expect_length("results", y.len(), tokens.saturating_mul(self.rows()))?;
        expect_length("biases", bias.len(), self.rows())?;
        for token in 0..tokens {
            let x = self.element().round_token(&x[token * self.cols()..][..self.cols()]);
            for row in 0..self.rows() {
                let sum: f64 = self.kept(row).map(|(col, weight)| f64::from(weight) * f64::from(x[col])).sum();
                y[token * self.rows() + row] = (f64::from(bias[row]) + sum) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pruned_weight_contributes_nothing_even_to_nan() {
        let matrix = SparseMatrix::new(&[1.0, f32::NAN, 3.0, 4.0], Mask::from_fn(2, 2, |row, col| (row, col) != (0, 1))).unwrap();
        let mut y = [0.0; 2];
        matrix.product(&[2.0, f32::INFINITY], 1, &[0.5, 0.0], &mut y).unwrap();
        assert_eq!(y, [2.5, f32::INFINITY]);
    }

    #[test]
    fn lengths_are_checked() {
        let error = SparseMatrix::new(&[1.0; 3], Mask::from_fn(2, 2, |_, _| true)).unwrap_err();
        assert_eq!(error.to_string(), "weights hold 3 values where 4 belong");
    }

    #[test]
    fn integers_are_rounded_per_row_and_per_token() {
        let mask = Mask::from_fn(2, 3, |row, col| (row, col) != (1, 2));
        let values = Values::Int8 { values: vec![127, -1, 0, 2, 3, 9], scales: vec![0.5, 2.0] };
        let matrix = SparseMatrix::of(values.clone(), mask.clone()).unwrap();
        assert_eq!(matrix.expand(), [63.5, -0.5, 0.0, 4.0, 6.0, 0.0], "a pruned integer is zero");
        let mut y = [0.0; 2];
        // The token's scale is 1, and its values become 127, 2 and -2.
        matrix.product(&[127.0, 2.4, -1.5], 1, &[1.0, 0.0], &mut y).unwrap();
        assert_eq!(y, [1.0 + 63.5 * 127.0 - 1.0, 4.0 * 127.0 + 12.0]);
        let Values::Int8 { values, .. } = values else { unreachable!() };
        let error = SparseMatrix::of(Values::Int8 { values, scales: vec![0.5] }, mask).unwrap_err();
        assert_eq!(error.to_string(), "scales hold 1 values where 2 belong");
    }
}

//! A weight matrix together with its mask, and the plain product that every kernel is compared with.
//!
//! Letters of this crate: `rows` are outputs, `cols` are inputs, `tokens` are the rows of the activations.

use std::sync::Arc;

use crate::error::{Result, expect_length};
use crate::{KernelError, Mask};

/// A `[rows, cols]` FP32 matrix of which only the weights in `mask` are kept.
///
/// *Invariant*: `weights.len() == rows * cols`, and every pruned weight is zero.
#[derive(Clone, Debug)]
pub struct SparseMatrix {
    mask: Arc<Mask>,
    weights: Vec<f32>,
}

impl SparseMatrix {
    /// Keeps the weights of the row-major `[rows, cols]` matrix that `mask` keeps.
    ///
    /// # Errors
    /// When `weights` does not hold `rows * cols` values.
    pub fn new(weights: &[f32], mask: Mask) -> Result<Self> {
        Self::with_shared_mask(weights, Arc::new(mask))
    }

    pub(crate) fn with_shared_mask(weights: &[f32], mask: Arc<Mask>) -> Result<Self> {
        let count = mask
            .rows()
            .checked_mul(mask.cols())
            .ok_or_else(|| KernelError::Shape(format!("a [{}, {}] matrix is too large", mask.rows(), mask.cols())))?;
        expect_length("weights", weights.len(), count)?;
        let mut weights = weights.to_vec();
        mask.apply(&mut weights);
        Ok(Self { mask, weights })
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

    /// The matrix with zeros where it is pruned, `[rows, cols]` row-major.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Kept weights of one row with their columns, left to right.
    pub fn kept(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.mask.kept_cols(row).map(move |col| (col, self.weights[row * self.cols() + col]))
    }

    /// The plain product: `y[token][row] = bias[row] + sum of weight * x[token][col]` over kept weights alone, summed in FP64.
    /// `x: [tokens, cols]`, `y: [tokens, rows]`, `bias: [rows]`, row-major.
    ///
    /// # Errors
    /// When a length is not what its shape says.
    pub fn product(&self, x: &[f32], tokens: usize, bias: &[f32], y: &mut [f32]) -> Result<()> {
        expect_length("activations", x.len(), tokens.saturating_mul(self.cols()))?;
        expect_length("results", y.len(), tokens.saturating_mul(self.rows()))?;
        expect_length("biases", bias.len(), self.rows())?;
        for token in 0..tokens {
            let x = &x[token * self.cols()..][..self.cols()];
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
}

//! What turns the sums of a matrix's rows into results.

use super::{Stored, int8};
use crate::buffer::Aligned;

/// Scale, bias and first sum of every row, for whole vectors of rows.
///
/// *Invariant*: all three are of one length, zero past the last row.
pub(crate) struct RowTerms {
    /// Where an integer sum begins, so that it ends without what the shift of the activations adds.
    pub(crate) starts: Aligned<i32>,
    /// Scale of each row; one where the element has no scales.
    pub(crate) scales: Aligned<f32>,
    /// Bias of each row.
    pub(crate) bias: Aligned<f32>,
}

/// The terms of one row.
#[derive(Clone, Copy)]
pub(crate) struct OneRow {
    pub(crate) start: i32,
    pub(crate) scale: f32,
    pub(crate) bias: f32,
}

impl RowTerms {
    /// Those of one row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> OneRow {
        OneRow { start: self.starts[row], scale: self.scales[row], bias: self.bias[row] }
    }

    /// Zeros for `rows` rows, and so many more that they fill vectors of `lanes`.
    pub(crate) fn zeros(rows: usize, lanes: usize) -> Self {
        let len = rows.next_multiple_of(lanes);
        Self { starts: Aligned::zeros(len), scales: Aligned::zeros(len), bias: Aligned::zeros(len) }
    }

    /// The terms of `values: [rows, cols]`, `scales: [rows]` where the element has them, and `bias: [rows]`.
    pub(crate) fn set<T: Stored>(&mut self, values: &[T], scales: &[f32], bias: &[f32]) {
        let rows = bias.len();
        self.bias[..rows].copy_from_slice(bias);
        if !T::ELEMENT.is_integer() {
            return self.scales[..rows].fill(1.0);
        }
        self.scales[..rows].copy_from_slice(scales);
        let cols = values.len() / rows.max(1);
        for (start, row) in self.starts.iter_mut().zip(values.chunks_exact(cols.max(1))) {
            *start = -int8::SHIFT * row.iter().map(|value| value.widen() as i32).sum::<i32>();
        }
    }

    /// The result of a row whose sum of products, of shifted activations and begun from zero, is `sum`.
    #[inline(always)]
    pub(crate) fn dequantize(&self, row: usize, sum: i32, token_scale: f32) -> f32 {
        int8::dequantize(self.starts[row] + sum, self.scales[row], token_scale, self.bias[row])
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.starts.bytes() + self.scales.bytes() + self.bias.bytes()
    }
}

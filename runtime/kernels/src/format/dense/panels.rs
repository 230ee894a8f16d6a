//! Products with a dense FP32 matrix that lives only for a moment, such as the keys of one head of attention: packed as `dense` packs
//! weights, on the calling thread alone.

use super::float::{Multiply, Tile};
use super::{TILE, VECTORS, WIDEST};
use crate::buffer::Scratch;
use crate::cpu::{Cpu, Tier};
use crate::error::Result;
use crate::operands::Operands;
use crate::{KernelError, simd};

/// A `[rows, cols]` matrix in panels.
///
/// *Invariant*: `weights` is `[panels, cols, width]`, zero past the last row, and `zeros` is `[width]`.
pub struct Panels {
    tier: Tier,
    width: usize,
    rows: usize,
    cols: usize,
    weights: Scratch<f32>,
    zeros: Scratch<f32>,
}

impl Panels {
    /// Packs the matrix whose rows begin `stride` values apart.
    ///
    /// # Errors
    /// When `values` ends before the matrix does.
    pub fn of_rows(values: &[f32], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        expect_view(values, rows, cols, stride)?;
        Ok(Self::pack(rows, cols, |panel, first, count, width| {
            for (col, lanes) in panel.chunks_exact_mut(width).enumerate() {
                for (lane, weight) in lanes[..count].iter_mut().enumerate() {
                    *weight = values[(first + lane) * stride + col];
                }
            }
        }))
    }

    /// Packs the matrix whose columns begin `stride` values apart.
    ///
    /// # Errors
    /// When `values` ends before the matrix does.
    pub fn of_cols(values: &[f32], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        expect_view(values, cols, rows, stride)?;
        Ok(Self::pack(rows, cols, |panel, first, count, width| {
            for (col, lanes) in panel.chunks_exact_mut(width).enumerate() {
                lanes[..count].copy_from_slice(&values[col * stride + first..][..count]);
            }
        }))
    }

    /// Panels filled by `fill(panel, first row, rows in it, width)`.
    fn pack(rows: usize, cols: usize, fill: impl Fn(&mut [f32], usize, usize, usize)) -> Self {
        let tier = Cpu::this().tier;
        let width = VECTORS * tier.lanes();
        let mut weights = Scratch::take(rows.div_ceil(width) * width * cols);
        let mut zeros = Scratch::take(width);
        zeros.fill(0.0);
        for (at, panel) in weights.chunks_exact_mut((width * cols).max(1)).enumerate() {
            let count = width.min(rows - at * width);
            if count < width {
                panel.fill(0.0);
            }
            fill(panel, at * width, count, width);
        }
        Self { tier, width, rows, cols, weights, zeros }
    }

    /// How many results a token has for the first `rows` rows: whole panels.
    pub fn results(&self, rows: usize) -> usize {
        rows.next_multiple_of(self.width)
    }

    /// `y = x W^T` for the first `rows` rows and `cols` columns of the matrix: `x: [tokens, cols]`, its rows `stride` values apart, and
    /// `y: [tokens, results]` with [`Panels::results`] of `rows`, what lies behind them of no meaning.
    ///
    /// # Errors
    /// When a length is not what its shape says, or there are not so many rows and columns.
    pub fn multiply(&self, (rows, cols): (usize, usize), x: &[f32], stride: usize, tokens: usize, y: &mut [f32]) -> Result<()> {
        if rows > self.rows || cols > self.cols {
            return Err(KernelError::Shape(format!("[{rows}, {cols}] of a [{}, {}] matrix", self.rows, self.cols)));
        }
        expect_view(x, tokens, cols, stride)?;
        let mut operands = Operands::new(&[], y, tokens, self.results(rows), 0)?;
        let mut output = operands.output();
        for panel in 0..rows.div_ceil(self.width) {
            let weights = &self.weights[panel * self.cols * self.width..][..cols * self.width];
            for start in (0..tokens).step_by(TILE) {
                let count = (tokens - start).min(TILE);
                let tile = Tile { x: &x[start * stride..], stride, count, cols, panel: weights };
                let rows = panel * self.width..(panel + 1) * self.width;
                output.tile::<TILE, WIDEST>(rows, self.width, start..start + count, |results| {
                    simd::dispatch(self.tier, Multiply { tile, bias: &self.zeros, results });
                });
            }
        }
        Ok(())
    }
}

/// Fails unless `values` hold `rows` rows of `cols`, `stride` values apart.
fn expect_view(values: &[f32], rows: usize, cols: usize, stride: usize) -> Result<()> {
    let len = rows.saturating_sub(1).saturating_mul(stride).saturating_add(cols);
    if rows == 0 || (cols <= stride || rows == 1) && len <= values.len() {
        return Ok(());
    }
    Err(KernelError::Shape(format!("{} values hold no {rows} rows of {cols} that begin {stride} apart", values.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random_values};

    #[test]
    fn products_of_views_follow_the_definition() {
        for (rows, cols, tokens) in [(1, 1, 1), (40, 7, 13), (32, 64, 24), (65, 33, 5), (0, 3, 2), (3, 0, 2)] {
            let (row_stride, col_stride, x_stride) = (cols + 3, rows + 2, cols + 1);
            let (x, weights) = (random_values(tokens * x_stride, 1), random_values(rows * row_stride, 2));
            let mut turned = vec![0.0; cols * col_stride];
            (0..rows * cols)
                .for_each(|at| turned[at % cols * col_stride + at / cols] = weights[at / cols * row_stride + at % cols]);
            let by_rows = Panels::of_rows(&weights, rows, cols, row_stride).unwrap();
            for panels in [Panels::of_cols(&turned, rows, cols, col_stride).unwrap(), by_rows] {
                for (rows, cols) in [(rows, cols), (rows / 2, cols), (rows, cols / 2)] {
                    let results = panels.results(rows);
                    let mut y = vec![f32::NAN; tokens * results];
                    panels.multiply((rows, cols), &x, x_stride, tokens, &mut y).unwrap();
                    for token in 0..tokens {
                        let product =
                            |row: usize| (0..cols).map(|col| x[token * x_stride + col] * weights[row * row_stride + col]).sum();
                        let expected: Vec<f32> = (0..rows).map(product).collect();
                        assert_close(&y[token * results..][..rows], &expected, cols, &format!("[{rows}, {cols}] by {tokens}"));
                    }
                }
            }
        }
    }

    #[test]
    fn views_that_end_too_early_are_errors() {
        let values = [0.0; 10];
        assert!(Panels::of_rows(&values, 3, 4, 4).is_err() && Panels::of_cols(&values, 4, 3, 4).is_err());
        assert!(Panels::of_rows(&values, 2, 4, 3).is_err(), "rows that overlap");
        let panels = Panels::of_rows(&values, 2, 5, 5).unwrap();
        let mut y = vec![0.0; panels.results(2)];
        assert!(panels.multiply((2, 5), &values[..4], 5, 1, &mut y).is_err());
        assert!(panels.multiply((3, 5), &values, 5, 1, &mut y).is_err());
        assert!(panels.multiply((2, 5), &values, 5, 2, &mut y).is_err());
    }
}

//! `gemm`: every weight stored row by row, multiplied by the `gemm` crate; the baseline of benchmarks.

use std::sync::Arc;

use ::gemm::{Parallelism, gemm};

use super::{Compressed, Footprint, Format, Target, expect_shape, repair_non_finite, values_of_same_kind};
use crate::element::{Element, Values};
use crate::error::{Result, expect_length};
use crate::{KernelError, Mask, Operands, SparseMatrix};

/// The word `gemm`.
pub struct Gemm;

impl Format for Gemm {
    fn word(&self) -> &'static str {
        "gemm"
    }

    fn about(&self) -> &'static str {
        "every weight stored row by row, multiplied by the gemm crate"
    }

    fn is_dense(&self) -> bool {
        true
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], _target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        let Values::Fp32(weights) = matrix.values() else {
            return Err(KernelError::Refused(format!("it multiplies fp32, not {}", matrix.element())));
        };
        Ok(Box::new(RowMajor { mask: matrix.mask().clone(), weights: weights.clone(), bias: bias.to_vec() }))
    }
}

/// *Invariant*: `weights` is `[rows, cols]` and `bias` is `[rows]`.
struct RowMajor {
    mask: Arc<Mask>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Compressed for RowMajor {
    fn word(&self) -> &'static str {
        Gemm.word()
    }

    fn element(&self) -> Element {
        Element::Fp32
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        for col in self.mask.kept_cols(row) {
            visit(col, self.weights[row * self.mask.cols() + col]);
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (weights, _) = values_of_same_kind::<f32>(&self.mask, matrix, bias)?;
        self.weights.copy_from_slice(weights);
        self.bias.copy_from_slice(bias);
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let values = self.weights.len() + self.bias.len();
        Footprint { data_bytes: values * size_of::<f32>() + self.mask.bytes(), ..Footprint::default() }
    }

    fn weight_bytes_read(&self, _tokens: usize) -> usize {
        self.weights.len() * size_of::<f32>()
    }

    /// All of them: the crate shares them out itself.
    fn group(&self) -> usize {
        usize::MAX
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let (tokens, rows, cols) = (operands.tokens(), operands.rows(), operands.cols());
        for y in operands.y().chunks_exact_mut(rows.max(1)) {
            y.copy_from_slice(&self.bias);
        }
        let parallelism = match rayon::current_num_threads() {
            1 => Parallelism::None,
            threads => Parallelism::Rayon(threads),
        };
        let (x, y) = (operands.x().as_ptr(), operands.y().as_mut_ptr());
        let (row_stride, unit) = (cols as isize, 1);
        // SAFETY: `x` is [tokens, cols], `y` is [tokens, rows] and `weights` is [rows, cols], all row-major and whole: the
        // invariants of `Operands` and of this type, and `expect_shape`.
        unsafe {
            gemm(
                tokens,
                rows,
                cols,
                y,
                unit,
                rows as isize,
                true,
                x,
                unit,
                row_stride,
                self.weights.as_ptr(),
                row_stride,
                unit,
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
        operands.output().finish(0..rows, 0..tokens);
        repair_non_finite(self, &self.bias, operands);
        Ok(())
    }
}

//! From the Hessian of a layer to the matrix that SparseGPT walks along.
//!
//! SparseGPT eliminates one input after the other; row `j` of the upper Cholesky factor `U` of `H^-1` (`H^-1 = U^T U`) holds what
//! remains of the inverse once inputs before `j` are gone. The usual way there is Cholesky, inverse, Cholesky. It takes one
//! factorization: with `H = R R^T`, `R` upper triangular, `H^-1 = (R^-1)^T R^-1`, and the factor is unique, so `U = R^-1`. `R` is
//! the lower Cholesky factor of `H` with rows and columns in reverse order, read in reverse.
//!
//! Sums run in FP64: the Hessians of real layers have condition numbers beyond what FP32 resolves.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::{Fault, Result};

/// Damping is raised tenfold until the Hessian is positive definite, at most to this share of its mean diagonal.
const LARGEST_DAMPING: f64 = 1.0;

/// What the ladder starts from where no damping is asked for.
const SMALLEST_DAMPING: f64 = 1e-4;

/// Columns that one task of the triangular inverse solves together, so that a row of the factor is read once for all of them.
const COLUMNS: usize = 16;

/// The upper Cholesky factor of the inverse of a damped Hessian.
pub(super) struct InverseFactor {
    /// `U`, `[in, in]` row-major; zero below the diagonal.
    upper: Vec<f32>,
    /// Inputs of the layer.
    inputs: usize,
    /// Inputs that were zero at every token.
    pub(super) dead: Vec<usize>,
    /// The damping that was needed, as a share of the mean diagonal.
    pub(super) damping: f64,
}

impl InverseFactor {
    /// Factors `hessian` `[in, in]`; damping starts at `damping` of its mean diagonal.
    ///
    /// # Errors
    /// When the matrix is not positive definite at any damping.
    pub(super) fn new(hessian: &[f32], inputs: usize, damping: f64) -> Result<Self> {
        if hessian.len() != inputs * inputs {
            return Err(Fault::internal(format!("a Hessian of {} values for {inputs} inputs", hessian.len())));
        }
        let diagonal = |at: usize| f64::from(hessian[at * inputs + at]);
        let dead: Vec<usize> = (0..inputs).filter(|&at| diagonal(at) == 0.0).collect();
        let mean = ((0..inputs).map(diagonal).sum::<f64>() + dead.len() as f64) / inputs.max(1) as f64;

        let mut share = damping;
        loop {
            let mut reversed = reverse(hessian, inputs);
            for at in 0..inputs {
                let pivot = &mut reversed[at * inputs + at];
                *pivot = if *pivot == 0.0 { 1.0 } else { *pivot } + share * mean;
            }
            if cholesky(&mut reversed, inputs) {
                return Ok(Self { upper: reversed_inverse(&reversed, inputs), inputs, dead, damping: share });
            }
            if share >= LARGEST_DAMPING {
                return Err(Fault::running(format!("the Hessian is not positive definite, even with a damping of {share}")));
            }
            share = (share * 10.0).clamp(SMALLEST_DAMPING, LARGEST_DAMPING);
        }
    }

    /// Row `at` of `U`, all columns.
    pub(super) fn row(&self, at: usize) -> &[f32] {
        &self.upper[at * self.inputs..(at + 1) * self.inputs]
    }

    /// `U[at, at]`.
    pub(super) fn diagonal(&self, at: usize) -> f32 {
        self.upper[at * self.inputs + at]
    }
}

/// The matrix with rows and columns in reverse order, in FP64.
fn reverse(matrix: &[f32], size: usize) -> Vec<f64> {
    debug_assert_eq!(matrix.len(), size * size);
    matrix.iter().rev().map(|&value| f64::from(value)).collect()
}

/// The lower Cholesky factor of `matrix` `[size, size]`, in place of its lower triangle; false when a pivot is not positive.
///
/// Left-looking by panels: the rows of a panel one after the other, then every row below it at the same time.
fn cholesky(matrix: &mut [f64], size: usize) -> bool {
    const PANEL: usize = 64;
    for start in (0..size).step_by(PANEL) {
        let end = (start + PANEL).min(size);
        let (above, below) = matrix.split_at_mut(end * size);
        for row in start..end {
            let (finished, current) = above.split_at_mut(row * size);
            solve_row(&mut current[..=row], finished, size, start);
            let pivot = current[row] - dot(&current[..row], &current[..row]);
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            current[row] = pivot.sqrt();
        }
        below.par_chunks_exact_mut(size).for_each(|row| solve_row(&mut row[..=end], above, size, start));
    }
    true
}

/// Columns `start..` of one row of the factor, from its finished rows; the last entry of `row` is left alone.
fn solve_row(row: &mut [f64], finished: &[f64], size: usize, start: usize) {
    for col in start..row.len() - 1 {
        let pivots = &finished[col * size..=col * size + col];
        row[col] = (row[col] - dot(&row[..col], &pivots[..col])) / pivots[col];
    }
}

/// The inverse of a lower triangular factor, rows and columns in reverse order: an upper triangular matrix in FP32.
///
/// Every column of the inverse is a forward substitution of its own.
fn reversed_inverse(lower: &[f64], size: usize) -> Vec<f32> {
    // Row `a` holds column `size - 1 - a` of the result from its diagonal upwards, that is column `a` of the inverse downwards.
    let mut columns = vec![0f32; size * size];
    columns.par_chunks_mut((COLUMNS * size).max(1)).enumerate().for_each(|(task, columns)| {
        let first = task * COLUMNS;
        let mut solved = vec![0f64; columns.len()];
        for row in first..size {
            let factor = &lower[row * size..=row * size + row];
            for (offset, column) in solved.chunks_exact_mut(size).enumerate() {
                let unit = if row == first + offset { 1.0 } else { 0.0 };
                column[row] = (unit - dot(&factor[first..row], &column[first..row])) / factor[row];
            }
        }
        columns.iter_mut().zip(&solved).for_each(|(to, &from)| *to = from as f32);
    });
    let mut upper = vec![0f32; size * size];
    upper.par_chunks_exact_mut(size.max(1)).enumerate().for_each(|(row, values)| {
        for (col, value) in values.iter_mut().enumerate().skip(row) {
            *value = columns[(size - 1 - col) * size + size - 1 - row];
        }
    });
    upper
}

/// The scalar product, in eight partial sums that a vector unit can hold.
#[multiversion(targets = "simd")]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `2 / tokens * X^T X` of a `[tokens, inputs]` matrix.
    fn gram(x: &[f32], inputs: usize) -> Vec<f32> {
        let tokens = x.len() / inputs;
        let at = |row: usize, col: usize| f64::from(x[row * inputs + col]);
        let entry = |i: usize, j: usize| (0..tokens).map(|t| at(t, i) * at(t, j)).sum::<f64>() * 2.0 / tokens as f64;
        (0..inputs * inputs).map(|at| entry(at / inputs, at % inputs) as f32).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// `U^T U (H + damping) = 1`, over sizes on both sides of a panel and of a task.
        #[test]
        fn the_factor_is_that_of_the_inverse(inputs in 1usize..90, seed in prop::collection::vec(-1f32..1.0, 200 * 3)) {
            let tokens = 2 * inputs;
            let x: Vec<f32> = (0..tokens * inputs).map(|at| seed[(at * 7 + at / 11) % seed.len()] + seed[at % 599] ).collect();
            let hessian = gram(&x, inputs);
            let factor = InverseFactor::new(&hessian, inputs, 0.01).unwrap();
            let mean = (0..inputs).map(|at| f64::from(hessian[at * inputs + at])).sum::<f64>() / inputs as f64;
            for i in 0..inputs {
                prop_assert!(factor.row(i)[..i].iter().all(|&value| value == 0.0));
                for j in 0..inputs {
                    // (U^T U H)[i, j] by its definition.
                    let product: f64 = (0..inputs).map(|l| {
                        let inverse: f64 = (0..=i.min(l)).map(|k| f64::from(factor.row(k)[i]) * f64::from(factor.row(k)[l])).sum();
                        let damped = f64::from(hessian[l * inputs + j]) + if l == j { factor.damping * mean } else { 0.0 };
                        inverse * damped
                    }).sum();
                    prop_assert!((product - f64::from(u8::from(i == j))).abs() < 2e-3, "[{}, {}] is {}", i, j, product);
                }
            }
        }
    }

    #[test]
    fn damping_climbs_until_the_matrix_is_positive_definite() {
        let factor = InverseFactor::new(&[1.0, 3.0, 3.0, 1.0], 2, 0.01);
        assert!(factor.is_err(), "an eigenvalue of minus twice the mean diagonal is beyond the ladder");
        let factor = InverseFactor::new(&[1.0, 1.05, 1.05, 1.0], 2, 0.01).unwrap();
        assert!((factor.damping - 0.1).abs() < 1e-12);
        let singular = InverseFactor::new(&[1.0, 1.0, 1.0, 1.0], 2, 0.0).unwrap();
        assert!((singular.damping - SMALLEST_DAMPING).abs() < 1e-12);
    }

    #[test]
    fn inputs_that_never_fire_stand_alone() {
        let factor = InverseFactor::new(&[4.0, 0.0, 0.0, 0.0], 2, 0.0).unwrap();
        assert_eq!(factor.dead, [1]);
        assert_eq!((factor.row(0), factor.row(1)), ([0.5, 0.0].as_slice(), [0.0, 1.0].as_slice()));
    }

    #[test]
    fn values_that_are_not_finite_are_a_fault() {
        assert!(InverseFactor::new(&[f32::NAN, 0.0, 0.0, 1.0], 2, 0.01).is_err());
        assert!(InverseFactor::new(&[f32::INFINITY, 0.0, 0.0, 1.0], 2, 0.01).is_err());
    }
}

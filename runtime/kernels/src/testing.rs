//! Random matrices and values for tests, self-checks and benchmarks: a small fixed generator, so that all of them repeat exactly.

#[cfg(test)]
use crate::Pattern;
use crate::error::Result;
use crate::{Element, SparseMatrix, Values};

/// `count` values in `-1..1`, decided by `seed`.
pub(crate) fn random_values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..count).map(|_| (split_mix(&mut state) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

/// A `[rows, cols]` matrix with a uniform random mask that keeps about `density` of the weights.
#[cfg(test)]
pub(crate) fn random_matrix(rows: usize, cols: usize, density: f64, seed: u64) -> SparseMatrix {
    patterned_matrix(Pattern::Uniform, rows, cols, density, seed)
}

/// The same with a random mask that has a pattern.
#[cfg(test)]
pub(crate) fn patterned_matrix(pattern: Pattern, rows: usize, cols: usize, density: f64, seed: u64) -> SparseMatrix {
    let weights = random_values(rows * cols, seed);
    SparseMatrix::new(&weights, pattern.mask(rows, cols, density, !seed)).expect("as many values as weights")
}

/// The matrix rounded to an element.
///
/// # Errors
/// As [`Values::round`].
pub(crate) fn rounded(matrix: &SparseMatrix, element: Element) -> Result<SparseMatrix> {
    SparseMatrix::of(Values::round(&matrix.expand(), matrix.rows(), matrix.cols(), element)?, matrix.mask().clone())
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first place where `found` is further from `expected` than rounding explains in sums of `terms` products of values below 1.
pub(crate) fn first_difference(found: &[f32], expected: &[f32], terms: usize) -> Option<(usize, f32, f32)> {
    let tolerance = 2e-7 * (terms as f32 + 4.0);
    let agree = |a: f32, b: f32| {
        if a.is_finite() && b.is_finite() { (a - b).abs() <= tolerance } else { a == b || (a.is_nan() && b.is_nan()) }
    };
    found.iter().zip(expected).enumerate().find(|(_, (a, b))| !agree(**a, **b)).map(|(at, (a, b))| (at, *a, *b))
}

/// Panics where [`first_difference`] finds one.
#[cfg(test)]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], terms: usize, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    if let Some((at, found, expected)) = first_difference(found, expected, terms) {
        panic!("{what}: value {at} is {found}, not {expected}");
    }
}

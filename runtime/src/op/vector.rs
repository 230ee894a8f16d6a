//! Elementwise functions and sums over slices, compiled for several vector widths, the best chosen while running.
//!
//! Sums run in 16 lanes that are added pairwise at the end: fast, in the same order on every machine, and more precise than one running
//! sum.

use std::mem::MaybeUninit;

use multiversion::multiversion;
use sparsec_kernels::activation::exp;

/// Values that a sum keeps apart until its end.
const LANES: usize = 16;

/// The pairwise sum of the lanes.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of `of(value)`.
#[inline(always)]
pub(super) fn sum_of(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += of(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += of(value);
    }
    fold(lanes)
}

/// The sum of `of(a, b)` over two slices of one length.
#[inline(always)]
pub(super) fn sum_of_pairs(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for lane in 0..LANES {
            lanes[lane] += of(a[lane], b[lane]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a.remainder()).zip(b.remainder()) {
        *lane += of(a, b);
    }
    fold(lanes)
}

/// `sum values²`, in double precision.
#[multiversion(targets = "simd")]
pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    let rest = chunks.remainder().iter().map(|&value| f64::from(value) * f64::from(value));
    lanes.into_iter().chain(rest).sum()
}

/// `sum a b`.
#[multiversion(targets = "simd")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of_pairs(a, b, |a, b| a * b)
}

/// The largest value; -inf where there is none.
#[multiversion(targets = "simd")]
pub(super) fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    lanes.into_iter().fold(rest, larger)
}

/// `sum e^(scale value - shift)`.
#[multiversion(targets = "simd")]
pub(super) fn sum_exp(values: &[f32], scale: f32, shift: f32) -> f32 {
    sum_of(values, |value| exp(value * scale - shift))
}

/// `values = e^(values - shift)`.
#[multiversion(targets = "simd")]
pub(super) fn exp_in_place(values: &mut [f32], shift: f32) {
    for value in values {
        *value = exp(*value - shift);
    }
}

/// `values = e^(values - shift)`, and their sum.
#[multiversion(targets = "simd")]
fn exp_and_sum(values: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = exp(*value - shift);
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *value = exp(*value - shift);
        *lane += *value;
    }
    fold(lanes)
}

/// `to = scale values`, both of one length.
#[multiversion(targets = "simd")]
pub(super) fn write_scaled(values: &[f32], scale: f32, to: &mut [f32]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to = value * scale;
    }
}

/// `y = W x + bias`, with `weight: [out, in]`; a missing bias is zeros.
#[multiversion(targets = "simd")]
pub(super) fn matrix_by_vector(weight: &[f32], x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    for (row, (y, weight)) in y.iter_mut().zip(weight.chunks_exact(x.len())).enumerate() {
        *y = sum_of_pairs(weight, x, |weight, x| weight * x) + bias.map_or(0.0, |bias| bias[row]);
    }
}

/// The products of the parts of `queries`, `depth` long, with the parts of `count` rows of `keys`, `stride` apart: `[parts, count]`.
#[multiversion(targets = "simd")]
pub(super) fn dots(queries: &[f32], depth: usize, keys: &[f32], stride: usize, count: usize, products: &mut [f32]) {
    for key in 0..count {
        let row = &keys[key * stride..][..queries.len()];
        for (part, (query, key_part)) in queries.chunks_exact(depth).zip(row.chunks_exact(depth)).enumerate() {
            products[part * count + key] = sum_of_pairs(query, key_part, |query, key| query * key);
        }
    }
}

/// `sums`, in parts of `depth`, of `count` rows of `values`, `stride` apart, each part of a row times its weight, `[parts, count]`.
#[multiversion(targets = "simd")]
pub(super) fn weighted_sums(weights: &[f32], depth: usize, values: &[f32], stride: usize, count: usize, sums: &mut [f32]) {
    sums.fill(0.0);
    for key in 0..count {
        let row = &values[key * stride..][..sums.len()];
        for (part, (sums, values)) in sums.chunks_exact_mut(depth).zip(row.chunks_exact(depth)).enumerate() {
            let weight = weights[part * count + key];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
    }
}

/// `values *= scale`.
#[multiversion(targets = "simd")]
pub(super) fn scale(values: &mut [f32], scale: f32) {
    for value in values {
        *value *= scale;
    }
}

/// `sums += values`.
#[multiversion(targets = "simd")]
pub(super) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// `sums = a + b`, all of one length.
#[multiversion(targets = "simd")]
pub(super) fn write_sum(a: &[f32], b: &[f32], sums: &mut [MaybeUninit<f32>]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        sum.write(a + b);
    }
}

/// Turns `row` into `e^(row - log_sum_exp(row))`, the softmax, and gives the `log_sum_exp`.
pub(super) fn softmax(row: &mut [f32]) -> f32 {
    let largest = max(row);
    let sum = exp_and_sum(row, largest);
    scale(row, 1.0 / sum);
    largest + sum.ln()
}

/// `sum values`.
#[multiversion(targets = "simd")]
pub(super) fn sum(values: &[f32]) -> f32 {
    sum_of(values, |value| value)
}

/// Turns scores of a softmax and slopes of its result into weights and slopes of the scores: `weights = e^(scores - log_sum)`,
/// `slopes = weights (slopes - projection)`, where `projection` is the sum of `weights slopes`.
#[multiversion(targets = "simd")]
pub(super) fn softmax_slopes(scores: &mut [f32], slopes: &mut [f32], log_sum: f32, projection: f32) {
    for (weight, slope) in scores.iter_mut().zip(slopes) {
        *weight = exp(*weight - log_sum);
        *slope = *weight * (*slope - projection);
    }
}

/// `ln sum e^(scale row)`, computed without overflow.
pub(super) fn log_sum_exp(row: &[f32], scale: f32) -> f32 {
    let largest = max(row) * scale;
    largest + sum_exp(row, scale, largest).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_cover_every_length() {
        for len in 0..70 {
            let values: Vec<f32> = (0..len).map(|i| (i % 5) as f32 - 7.0).collect();
            assert_eq!(dot(&values, &values), values.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(sum_of_squares(&values), values.iter().map(|v| f64::from(v * v)).sum::<f64>());
            assert_eq!(max(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn softmax_sums_to_one_for_large_values() {
        let mut row: Vec<f32> = (0..37).map(|i| 1000.0 + (i % 9) as f32).collect();
        let expected = log_sum_exp(&row, 1.0);
        assert!((softmax(&mut row) - expected).abs() < 1e-3);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

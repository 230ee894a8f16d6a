//! `int8`: weights with one scale per row, activations with one scale per token that is found while the product runs.
//!
//! Both are symmetric: `scale = max |v| / 127`, `q = round(v / scale)`, halves to the even neighbour. A result is
//! `(sum of q_x q_w) * scale_w * scale_x + bias`, the sum exact, the rest in FP32 from left to right.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::KernelError;
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::error::Result;
use crate::operands::Operands;
use crate::simd::{self, Kernel, Vector};

/// The largest value in use; -128 is left out, so that the grid is symmetric.
pub const LARGEST: f32 = 127.0;

/// Columns of a matrix at most: so many products of an activation and a weight cannot exceed a 32-bit sum.
pub const MOST_COLS: usize = i32::MAX as usize / (127 * 128);

/// What is added to an activation so that it is stored without a sign: the instructions that sum products of bytes want one factor
/// so. The sums are too large by this times the sum of the row's weights, which is known beforehand.
pub(crate) const SHIFT: i32 = 128;

/// A shifted zero.
pub(crate) const ZERO: u8 = SHIFT as u8;

/// The scale at which the finite value of largest magnitude becomes [`LARGEST`]. Where that is too small to divide by, any will do.
pub fn symmetric_scale(values: &[f32]) -> f32 {
    let largest = values.iter().filter(|value| value.is_finite()).fold(0f32, |largest, value| largest.max(value.abs()));
    scale_for(largest)
}

fn scale_for(largest: f32) -> f32 {
    let scale = largest / LARGEST;
    if scale < f32::MIN_POSITIVE { f32::EPSILON } else { scale }
}

/// `value / scale` on the integer grid, halves to the even neighbour. NaN and infinity are not hidden: they stay what they are.
pub fn round(value: f32, scale: f32) -> f32 {
    if value.is_finite() { (value / scale).round_ties_even().clamp(-LARGEST, LARGEST) } else { value }
}

/// The result that belongs to an exact sum of products of integers.
#[inline(always)]
pub fn dequantize(sum: i32, row_scale: f32, token_scale: f32, bias: f32) -> f32 {
    sum as f32 * row_scale * token_scale + bias
}

/// The same for sixteen rows.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn dequantize_avx512(sums: __m512i, row_scales: __m512, token_scale: f32, bias: __m512) -> __m512 {
    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), row_scales);
    _mm512_add_ps(_mm512_mul_ps(scaled, _mm512_set1_ps(token_scale)), bias)
}

/// Fails unless rows have scales, and few enough columns for exact sums.
pub(super) fn check(scales: &[f32], cols: usize) -> Result<()> {
    if cols > MOST_COLS {
        return Err(KernelError::Shape(format!("{cols} columns are more than the {MOST_COLS} whose INT8 products fit 32 bits")));
    }
    match scales.iter().position(|scale| !scale.is_finite() || *scale <= 0.0) {
        None => Ok(()),
        Some(row) => {
            Err(KernelError::Shape(format!("the scale of row {row} is {}; it must be finite and positive", scales[row])))
        }
    }
}

/// Where the integers of tokens are written.
pub(crate) trait Layout: Sync {
    /// Tokens that are laid out together; what belongs to them lies in one piece.
    const GROUP: usize;

    /// Numbers of one group.
    fn group_len(&self) -> usize;

    /// Writes the shifted integers of one token, `[cols]`, to their places in its group.
    fn place(&self, token: usize, integers: &[u8], group: &mut [u8]);
}

/// Tokens one after the other, each in `stride` bytes, with zeros behind its last column.
pub(crate) struct Rows {
    /// Bytes per token.
    pub(crate) stride: usize,
}

impl Rows {
    /// Rows of `cols` columns, filled up to whole cache lines, an odd number of them: so that no two of a few tokens meet in a set
    /// of the first-level cache.
    pub(crate) fn apart(cols: usize) -> Self {
        Self { stride: (cols.div_ceil(64) | 1) * 64 }
    }
}

impl Layout for Rows {
    const GROUP: usize = 1;

    fn group_len(&self) -> usize {
        self.stride
    }

    fn place(&self, _token: usize, integers: &[u8], group: &mut [u8]) {
        group[..integers.len()].copy_from_slice(integers);
        group[integers.len()..].fill(ZERO);
    }
}

/// Activations as shifted integers, each token with its scale.
pub(crate) struct Tokens {
    /// Groups of a layout.
    pub(crate) integers: Scratch<u8>,
    /// `[tokens]`.
    pub(crate) scales: Scratch<f32>,
}

impl Tokens {
    /// Rounds the activations of `operands`, on as many threads of the current pool as that is worth. A token that is not finite
    /// becomes zeros: its results are computed otherwise.
    pub(crate) fn round<L: Layout>(tier: Tier, operands: &Operands, layout: &L) -> Self {
        let (tokens, cols) = (operands.tokens(), operands.cols());
        let groups = tokens.div_ceil(L::GROUP);
        let (mut integers, mut scales) = (Scratch::take(groups * layout.group_len()), Scratch::take(tokens));
        // A token without columns has no integers, and is visited by nobody.
        scales.fill(1.0);
        let round = |group: usize, integers: &mut [u8], scales: &mut [f32]| {
            let mut row = Scratch::<u8>::take(cols);
            for (token, scale) in scales.iter_mut().enumerate() {
                *scale = simd::dispatch(tier, RoundToken { x: operands.token(group * L::GROUP + token), integers: &mut row });
                layout.place(token, &row, integers);
            }
        };
        crate::operands::for_each_group(tokens * cols, layout.group_len(), &mut integers, L::GROUP, &mut scales, round);
        Self { integers, scales }
    }
}

/// Rounds one token; the same arithmetic as [`symmetric_scale`] and [`round`], in a form that becomes vectors on any tier.
struct RoundToken<'a> {
    x: &'a [f32],
    integers: &'a mut [u8],
}

impl Kernel for RoundToken<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f32 {
        const MAGNITUDE: u32 = 0x7fff_ffff;
        /// Added to a number of small magnitude, this leaves its nearest integer in the low bits of the sum, halves to even, for that
        /// is how the sum is rounded.
        const TO_INTEGER: f32 = 12_582_912.0;
        // Bits of numbers without a sign are in the order of the numbers, NaN and infinity last.
        let largest = self.x.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & MAGNITUDE));
        if largest >= f32::INFINITY.to_bits() {
            self.integers.fill(ZERO);
            return 1.0;
        }
        let scale = scale_for(f32::from_bits(largest));
        for (integer, value) in self.integers.iter_mut().zip(self.x) {
            *integer = ((value / scale + TO_INTEGER).to_bits() as u8) ^ ZERO;
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = f32> {
        prop_oneof![
            Just(0f32),
            -1f32..1.0,
            -1e-30f32..1e-30,
            -1e30f32..1e30,
            Just(1e-44),
            Just(f32::MAX),
            Just(f32::MIN_POSITIVE)
        ]
    }

    proptest! {
        #[test]
        fn vectors_round_as_one_value_does(x in prop::collection::vec(values(), 1..200), exponent in -40i32..40) {
            // Halves between integers, too: those of a token whose scale is a power of two.
            let halves = (0..255).map(|half| (half as f32 - 127.0) * 0.5 * 2f32.powi(exponent)).chain([LARGEST * 2f32.powi(exponent)]);
            for x in [x, halves.collect()] {
                let scale = symmetric_scale(&x);
                for tier in Tier::available() {
                    let mut integers = vec![0; x.len()];
                    prop_assert_eq!(simd::dispatch(tier, RoundToken { x: &x, integers: &mut integers }), scale);
                    for (integer, value) in integers.iter().zip(&x) {
                        prop_assert_eq!((i32::from(*integer) - SHIFT) as f32, round(*value, scale), "{} at {} on {}", value, scale, tier);
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_have_their_own_grids_and_halves_go_to_even() {
        let x =
            [127.0, 0.5, 1.5, -2.5, -127.0, 12.7, -0.635, 0.0, 0.05, 0.0, f32::NAN, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mut y = [0.0; 4];
        let operands = Operands::new(&x, &mut y, 4, 1, 5).unwrap();
        for tier in Tier::available() {
            let tokens = Tokens::round(tier, &operands, &Rows { stride: 6 });
            let integers: Vec<i32> = tokens.integers.iter().map(|byte| i32::from(*byte) - SHIFT).collect();
            assert_eq!(integers[..12], [127, 0, 2, -2, -127, 0, 127, -6, 0, 0, 0, 0]);
            assert_eq!(integers[12..], [0; 12], "a token that is not finite, and one of zeros");
            assert_eq!(tokens.scales[..], [1.0, 0.1, 1.0, f32::EPSILON]);
        }
        assert_eq!(symmetric_scale(&[f32::NEG_INFINITY, 12.7, f32::NAN]), 0.1);
        assert!(round(f32::NAN, 1.0).is_nan() && round(f32::INFINITY, 1.0) == f32::INFINITY);
    }

    #[test]
    fn scales_and_widths_are_checked() {
        assert!(check(&[1.0], MOST_COLS).is_ok());
        assert!(check(&[1.0], MOST_COLS + 1).is_err_and(|error| error.to_string().contains("32 bits")));
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(check(&[1.0, scale], 1).is_err_and(|error| error.to_string().contains("row 1")));
        }
    }
}

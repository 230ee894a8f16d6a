//! `int8`: weights with one scale per row, activations with one scale per token that is found while the product runs.
//!
//! Both are symmetric: `scale = max |v| / 127`, `q = round(v / scale)`, halves to the even neighbour. A result is
//! `(sum of q_x q_w) * scale_w * scale_x + bias`, the sum exact, the rest in FP32 from left to right.

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::Layout;
use crate::KernelError;
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::error::Result;
use crate::operands::Operands;
use crate::share::for_each_group;
use crate::simd::{self, Kernel, Vector};

/// The largest value in use; -128 is left out, so that the grid is symmetric.
pub const LARGEST: f32 = 127.0;

/// Columns of a matrix at most: so many products of an activation and a weight cannot exceed a 32-bit sum.
pub const MOST_COLS: usize = i32::MAX as usize / (127 * 128);

/// What is added to an activation so that it is stored without a sign: the instructions that sum products of bytes want one factor
/// so. The sums are too large by this times the sum of the row's weights, which is known beforehand.
pub(crate) const SHIFT: i32 = 128;

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
    match scales.iter().position(|scale| !(scale * SHIFT as f32).is_finite() || *scale <= 0.0) {
        None => Ok(()),
        Some(row) => {
            let reason = "it must be positive, and so small that every weight is finite";
            Err(KernelError::Shape(format!("the scale of row {row} is {}; {reason}", scales[row])))
        }
    }
}

/// Activations as shifted integers, each token with its scale.
pub(crate) struct Tokens {
    /// As the layout says.
    pub(crate) integers: Scratch<u8>,
    /// `[tokens]`; NaN for a token that holds NaN or infinity: it has no integers, and its results are computed otherwise.
    pub(crate) scales: Scratch<f32>,
}

impl Tokens {
    /// Rounds the activations of `operands`, on as many threads of the current pool as that is worth.
    pub(crate) fn round(tier: Tier, operands: &Operands, layout: &impl Layout) -> Self {
        let (tokens, cols, group_tokens) = (operands.tokens(), operands.cols(), layout.group());
        let groups = tokens.div_ceil(group_tokens);
        let (mut integers, mut scales) = (Scratch::take(groups * layout.group_len()), Scratch::take(tokens));
        // A token without columns has no integers, and is visited by nobody.
        scales.fill(1.0);
        let vectors = Vectors::of(tier);
        let round = |group: usize, integers: &mut [u8], scales: &mut [f32]| {
            for (token, token_scale) in scales.iter_mut().enumerate() {
                let x = operands.token(group * group_tokens + token);
                let Some(scale) = vectors.find_scale(x) else {
                    *token_scale = f32::NAN;
                    continue;
                };
                *token_scale = scale;
                for (cols, at) in layout.spans(token) {
                    let integers = &mut integers[at..at + cols.len()];
                    vectors.round(&x[cols], scale, integers);
                }
            }
        };
        for_each_group(tokens * cols, layout.group_len(), &mut integers, group_tokens, &mut scales, round);
        Self { integers, scales }
    }
}

/// What a token is rounded with.
#[derive(Clone, Copy)]
enum Vectors {
    /// AVX-512 with VBMI, which was checked.
    Bytes,
    /// Whatever a tier has.
    Any(Tier),
}

impl Vectors {
    fn of(tier: Tier) -> Self {
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier { Self::Bytes } else { Self::Any(tier) }
    }

    /// [`symmetric_scale`]; none where a value is NaN or infinite.
    fn find_scale(self, x: &[f32]) -> Option<f32> {
        let largest = match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `of` checked the instructions.
            Self::Bytes => unsafe { avx512::largest_bits(x) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bytes => unreachable!("AVX-512 is not there"),
            Self::Any(tier) => simd::dispatch(tier, LargestBits { x }),
        };
        (largest < f32::INFINITY.to_bits()).then(|| scale_for(f32::from_bits(largest)))
    }

    /// [`round`] for finite values, in the stored form.
    fn round(self, x: &[f32], scale: f32, integers: &mut [u8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `of` checked the instructions.
            Self::Bytes => unsafe { avx512::round(x, scale, integers) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bytes => unreachable!("AVX-512 is not there"),
            Self::Any(tier) => simd::dispatch(tier, Round { x, scale, integers }),
        }
    }
}

/// The bits of the largest magnitude, in a form that becomes vectors on any tier.
struct LargestBits<'a> {
    x: &'a [f32],
}

impl Kernel for LargestBits<'_> {
    type Output = u32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> u32 {
        const MAGNITUDE: u32 = 0x7fff_ffff;
        // Bits of numbers without a sign are in the order of the numbers, infinity and NaN last.
        self.x.iter().fold(0, |largest, value| largest.max(value.to_bits() & MAGNITUDE))
    }
}

/// [`round`] for finite values, in a form that becomes vectors on any tier.
struct Round<'a> {
    x: &'a [f32],
    scale: f32,
    integers: &'a mut [u8],
}

/// Added to a number of small magnitude, this leaves its nearest integer in the low bits of the sum, halves to even, for that is how
/// the sum is rounded.
const TO_INTEGER: f32 = 12_582_912.0;

/// Values that are rounded together.
const TOGETHER: usize = 64;

/// A product with the rounded reciprocal of a scale differs from the quotient by less than `2^-22` of it, and thus of 127.5: both round
/// to the same integer where the product is no further from that than this.
const SURE: f32 = 0.5 - 1.0 / 16_384.0;

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let reciprocal = 1.0 / self.scale;
        let (chunks, rest) = self.x.as_chunks::<TOGETHER>();
        let (integer_chunks, integer_rest) = self.integers.as_chunks_mut::<TOGETHER>();
        for (integers, x) in integer_chunks.iter_mut().zip(chunks) {
            // A division takes several times as long as a product, and hardly any value is so near a half that it is needed.
            let mut unsure = 0;
            for (integer, value) in integers.iter_mut().zip(x) {
                let product = value * reciprocal;
                let shifted = product + TO_INTEGER;
                unsure |= u32::from((product - (shifted - TO_INTEGER)).abs() > SURE);
                *integer = to_byte(shifted);
            }
            if unsure != 0 {
                divide(integers, x, self.scale);
            }
        }
        divide(integer_rest, rest, self.scale);
    }
}

/// The integers of quotients, by division.
#[inline(always)]
fn divide(integers: &mut [u8], x: &[f32], scale: f32) {
    for (integer, value) in integers.iter_mut().zip(x) {
        *integer = to_byte(value / scale + TO_INTEGER);
    }
}

/// The stored form of an integer that was rounded by adding [`TO_INTEGER`].
#[inline(always)]
fn to_byte(shifted: f32) -> u8 {
    (shifted.to_bits() as u8) ^ SHIFT as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::element::Rows;

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
                let tiers = Tier::available().map(|tier| (tier, Vectors::of(tier)));
                for (tier, vectors) in tiers.chain([(Tier::Avx512, Vectors::Any(Tier::Avx512))]) {
                    let mut integers = vec![0; x.len()];
                    prop_assert_eq!(vectors.find_scale(&x), Some(scale));
                    vectors.round(&x, scale, &mut integers);
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
            let tokens = Tokens::round(tier, &operands, &Rows { cols: 5, stride: 6 });
            let integers: Vec<i32> = tokens.integers.iter().map(|byte| i32::from(*byte) - SHIFT).collect();
            assert_eq!((&integers[..5], &integers[6..11]), (&[127, 0, 2, -2, -127][..], &[127, -6, 0, 0, 0][..]));
            assert_eq!(integers[18..23], [0; 5]);
            assert_eq!((tokens.scales[0], tokens.scales[1], tokens.scales[3]), (1.0, 0.1, f32::EPSILON));
            assert!(tokens.scales[2].is_nan(), "a token that is not finite");
        }
        assert_eq!(symmetric_scale(&[f32::NEG_INFINITY, 12.7, f32::NAN]), 0.1);
        assert!(round(f32::NAN, 1.0).is_nan() && round(f32::INFINITY, 1.0) == f32::INFINITY);
    }

    #[test]
    fn scales_and_widths_are_checked() {
        assert!(check(&[1.0], MOST_COLS).is_ok());
        assert!(check(&[1.0], MOST_COLS + 1).is_err_and(|error| error.to_string().contains("32 bits")));
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX / 127.0] {
            assert!(check(&[1.0, scale], 1).is_err_and(|error| error.to_string().contains("row 1")));
        }
    }
}

//! INT8: an entry is four columns, interleaved in registers, so that the four products of a token lie in one 32-bit lane.

use super::sets::Entry;
use super::{Multiply, Part, Strip};
use crate::KernelError;
use crate::cpu::Tier;
use crate::element::int8::Tokens;
use crate::element::{RowTerms, Rows};
use crate::error::Result;
use crate::format::{Compressed, repair_without_scale};
use crate::operands::{Operands, OutputRows};
use crate::panel::wide;

impl Multiply for i8 {
    type Weight = Self;
    type Activation = u8;
    type Sum = i32;
    type Rounded = Tokens;

    const ENTRY: Entry = Entry { fold: 4, span: 1 };

    fn expect_instructions(tier: Tier) -> Result<()> {
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
            return Ok(());
        }
        Err(KernelError::Refused("it needs AVX-512 with VNNI and VBMI".into()))
    }

    fn round(operands: &Operands) -> Tokens {
        Tokens::round(Tier::Avx512, operands, &Rows::apart(operands.cols()))
    }

    fn pack(operands: &Operands, rounded: &Tokens, panel: &mut [u8]) {
        // SAFETY: the instructions were there when the matrix was compressed.
        unsafe { wide::pack_bytes(&rounded.integers, &Rows::apart(operands.cols()), panel) };
    }

    fn starts(terms: &RowTerms) -> &[i32] {
        &terms.starts
    }

    unsafe fn multiply(strip: &Strip<Self>, sums: &mut [i32]) {
        // SAFETY: the caller promises the instructions.
        unsafe { x86::multiply(strip, sums) }
    }

    unsafe fn finish(terms: &RowTerms, rounded: &Tokens, sums: &[i32], part: Part, output: &mut OutputRows) {
        // SAFETY: the caller promises the instructions.
        unsafe { x86::finish(terms, &rounded.scales, sums, part, output) }
    }

    fn repair(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands, rounded: &Tokens) {
        repair_without_scale(stored, bias, operands, &rounded.scales);
    }
}

mod x86 {
    use std::arch::x86_64::*;

    use super::super::{LANES, Part, Strip, WEIGHTS_AHEAD, each_set};
    use crate::element::{RowTerms, int8};
    use crate::operands::OutputRows;
    use crate::panel::wide::{self, WIDE};

    /// # Safety
    /// AVX-512 with VNNI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn multiply(strip: &Strip<i8>, sums: &mut [i32]) {
        // SAFETY: the caller's promise.
        let mut sum = unsafe { strip.load(sums) };
        let (mut place, mut value) = (strip.places.as_ptr().cast::<[u16; 4]>(), strip.values.as_ptr().cast::<i32>());
        macro_rules! entries {
            ($set:literal) => {
                for _ in 0..strip.counts[$set] {
                    // SAFETY: the invariants of `Sets` and `Strip`: the counts are those of the places and values, four of each
                    // together, and each place has its activations. Prefetches are hints, whatever the address.
                    unsafe {
                        _mm_prefetch::<_MM_HINT_T0>(value.cast::<i8>().wrapping_add(WEIGHTS_AHEAD));
                        // Places are half as dense.
                        _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>().wrapping_add(WEIGHTS_AHEAD / 2));
                        let tokens = interleave(
                            place
                                .read_unaligned()
                                .map(|col| _mm512_load_si512(strip.x.as_ptr().add(usize::from(col) * WIDE).cast())),
                        );
                        place = place.add(1);
                        for (row, sum) in sum.iter_mut().enumerate() {
                            if $set >> row & 1 == 1 {
                                let weights = _mm512_set1_epi32(value.read_unaligned());
                                value = value.add(1);
                                for (sum, tokens) in sum.iter_mut().zip(tokens) {
                                    *sum = _mm512_dpbusd_epi32(*sum, tokens, weights);
                                }
                            }
                        }
                    }
                }
            };
        }
        each_set!(entries!);
        // SAFETY: the caller's promise.
        unsafe { strip.store(sum, sums) };
    }

    /// Four columns of 64 tokens become four vectors of sixteen tokens of four columns. Bytes stay in their 128 bits, which
    /// [`wide::pack_bytes`] knows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn interleave(cols: [__m512i; 4]) -> [__m512i; 4] {
        let [a, b, c, d] = cols;
        let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
        let (low_next, high_next) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
        [
            _mm512_unpacklo_epi16(low, low_next),
            _mm512_unpackhi_epi16(low, low_next),
            _mm512_unpacklo_epi16(high, high_next),
            _mm512_unpackhi_epi16(high, high_next),
        ]
    }

    /// # Safety
    /// AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn finish(terms: &RowTerms, token_scales: &[f32], sums: &[i32], part: Part, output: &mut OutputRows) {
        let Part { rows, tokens } = part;
        let lanes = rows.start..rows.start + LANES;
        let (scales, bias) = (&terms.scales[lanes.clone()], &terms.bias[lanes]);
        // SAFETY: sixteen terms each.
        let (scales, bias) = unsafe { (_mm512_loadu_ps(scales.as_ptr()), _mm512_loadu_ps(bias.as_ptr())) };
        let dequantize = |token: usize, sums| int8::dequantize_avx512(sums, scales, token_scales[token], bias);
        // SAFETY: the caller's promise.
        unsafe { wide::unpack(sums, rows, tokens, output, dequantize) };
    }
}

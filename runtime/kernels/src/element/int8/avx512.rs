//! Scales and integers of a token with AVX-512: what the plain forms next door give, to the bit.

use std::arch::x86_64::*;

use super::{SHIFT, divide};

/// Values that are rounded together: as many as a vector has bytes.
const TOGETHER: usize = 64;

/// Values of a vector.
const LANES: usize = 16;

/// Bits of a quotient after the point. With the eight before it they fill the 23 that FP32 has for the numbers from `2^23` on.
const FRACTION_BITS: u32 = 15;

/// The largest magnitude, as the bits of a number without its sign: these are in the order of the numbers, infinity and NaN last.
///
/// # Safety
/// AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn largest_bits(x: &[f32]) -> u32 {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let mut largest = [_mm512_setzero_si512(); TOGETHER / LANES];
    let (chunks, rest) = x.as_chunks::<TOGETHER>();
    for chunk in chunks {
        for (at, largest) in largest.iter_mut().enumerate() {
            // SAFETY: a vector of the chunk.
            let values = unsafe { _mm512_loadu_si512(chunk.as_ptr().add(at * LANES).cast()) };
            *largest = _mm512_max_epu32(*largest, _mm512_and_si512(values, magnitude));
        }
    }
    for chunk in rest.chunks(LANES) {
        // SAFETY: lanes past the chunk are not read.
        let values = unsafe { _mm512_maskz_loadu_epi32(((1u32 << chunk.len()) - 1) as __mmask16, chunk.as_ptr().cast()) };
        largest[0] = _mm512_max_epu32(largest[0], _mm512_and_si512(values, magnitude));
    }
    let [a, b, c, d] = largest;
    _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_max_epu32(a, b), _mm512_max_epu32(c, d)))
}

/// The integers of finite values, in the shifted form. A division takes several times as long as a product, so only groups of
/// [`TOGETHER`] in which a value is too near a half are divided.
///
/// A value times `2^15 / scale`, and a constant, is rounded once to a whole number: the quotient's integer in bits 15 to 22, half of
/// a step more than its fraction below. It differs from the exact quotient by at most 0.75 of the last bit (half of it for that
/// rounding, a quarter for that of the reciprocal, as a magnitude is at most `127 * 2^15 < 2^22`), the quotient of a division by at
/// most 0.25: where the fraction is further than one from a step, both round to the same integer.
///
/// # Safety
/// AVX-512 F, BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn round(x: &[f32], scale: f32, integers: &mut [u8]) {
    const ONE: i32 = 1 << FRACTION_BITS;
    // What is within two of a step has these bits zero: one less than two after two were added, or less.
    const AWAY: i32 = ONE - 4;
    let factor = 1.0 / scale * ONE as f32;
    if !factor.is_finite() {
        return divide(integers, x, scale);
    }
    let (factor, away) = (_mm512_set1_ps(factor), _mm512_set1_epi32(AWAY));
    let start = _mm512_set1_ps((1 << 23) as f32 + (SHIFT * ONE + ONE / 2 + 2) as f32);
    // Bits 15 to 22 of both 32-bit halves of a 64-bit lane; those of vector `i` become bytes `2 i` and `2 i + 1` of the lane.
    let bits = _mm512_set1_epi16((FRACTION_BITS | (FRACTION_BITS + 32) << 8) as i16);
    let mut order = [0u8; TOGETHER];
    for (at, from) in order.iter_mut().enumerate() {
        *from = (at % LANES / 2 * 8 + at / LANES * 2 + at % 2) as u8;
    }
    // SAFETY: 64 bytes.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    let len = x.len();
    let (chunks, rest) = x.as_chunks::<TOGETHER>();
    let (integer_chunks, integer_rest) = integers.as_chunks_mut::<TOGETHER>();
    for (integers, x) in integer_chunks.iter_mut().zip(chunks) {
        // What comes next in memory, mostly the next token, is asked for while there is other work.
        for line in 0..TOGETHER / LANES {
            _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(len + line * LANES).cast());
        }
        let quotients: [__m512i; TOGETHER / LANES] = std::array::from_fn(|at| {
            // SAFETY: a vector of the chunk.
            let values = unsafe { _mm512_loadu_ps(x.as_ptr().add(at * LANES)) };
            _mm512_castps_si512(_mm512_fmadd_ps(values, factor, start))
        });
        let unsure = quotients.map(|quotients| _mm512_testn_epi32_mask(quotients, away));
        if (unsure[0] | unsure[1] | unsure[2] | unsure[3]) != 0 {
            divide(integers, x, scale);
            continue;
        }
        let mut bytes = _mm512_multishift_epi64_epi8(bits, quotients[0]);
        bytes = _mm512_mask_multishift_epi64_epi8(bytes, 0x0c0c_0c0c_0c0c_0c0c, bits, quotients[1]);
        bytes = _mm512_mask_multishift_epi64_epi8(bytes, 0x3030_3030_3030_3030, bits, quotients[2]);
        bytes = _mm512_mask_multishift_epi64_epi8(bytes, 0xc0c0_c0c0_c0c0_c0c0, bits, quotients[3]);
        // SAFETY: a vector of the chunk.
        unsafe { _mm512_storeu_si512(integers.as_mut_ptr().cast(), _mm512_permutexvar_epi8(order, bytes)) };
    }
    divide(integer_rest, rest, scale);
}

//! Panels of 64 tokens, `[col][64]`, of 32-bit numbers and of bytes.

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx512::{self, LANES};
use super::groups::{TokenRows, pack_tile};
use crate::buffer::Number;
use crate::cpu::Tier;
use crate::element::Rows;
use crate::operands::OutputRows;

/// Tokens of a panel.
pub(crate) const WIDE: usize = 64;

/// Packs up to [`WIDE`] tokens, `[col][WIDE]`; lanes past the last token become zero.
pub(crate) fn pack<T: Number>(rows: &TokenRows<T>, panel: &mut [T]) {
    for tile in 0..WIDE / LANES {
        pack_tile(Tier::Avx512, &rows.tile(LANES, tile), WIDE / LANES, &mut panel[tile * LANES..]);
    }
}

/// Packs up to [`WIDE`] tokens, the `rows`, whose stride is a multiple of 64; lanes past the last token become zero.
///
/// Of the tokens of a column, `16 t + 4 l + e` is number `4 t + e` of the 16 bytes `l`: interleaving the bytes of four columns inside of
/// 128 bits then gives vectors of sixteen tokens in their order.
///
/// # Safety
/// AVX-512 F and VBMI.
#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) unsafe fn pack_bytes(integers: &[u8], rows: &Rows, panel: &mut [u8]) {
    let (stride, tokens) = (rows.stride, integers.len() / rows.stride);
    assert!(tokens <= WIDE && stride.is_multiple_of(64) && stride >= rows.cols);
    assert!(panel.len() >= rows.cols.next_multiple_of(64) * WIDE);
    // Byte `b` of sixteen lanes of 32 bits, then the next.
    let planes: [u8; 64] = std::array::from_fn(|at| (at % 16 * 4 + at / 16) as u8);
    // SAFETY: 64 bytes.
    let planes = unsafe { _mm512_loadu_si512(planes.as_ptr().cast()) };
    for start in (0..rows.cols).step_by(64) {
        // Four columns of sixteen tokens, for each quarter of the bytes of a column.
        let mut quarters = [[_mm512_setzero_ps(); LANES]; 4];
        for (quarter, block) in quarters.iter_mut().enumerate() {
            for (at, row) in block.iter_mut().enumerate() {
                let token = at / 4 * 16 + quarter * 4 + at % 4;
                if token < tokens {
                    // SAFETY: the assertions: `start + 64 <= stride`, and there are `tokens` strides.
                    *row = unsafe { _mm512_loadu_ps(integers.as_ptr().add(token * stride + start).cast()) };
                }
            }
            *block = avx512::transpose(*block);
        }
        for group in 0..LANES {
            let [a, b, c, d] =
                quarters.each_ref().map(|block| _mm512_permutexvar_epi8(planes, _mm512_castps_si512(block[group])));
            let (low, high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
            let (low_next, high_next) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
            let cols = [
                _mm512_shuffle_i32x4::<0x88>(low, low_next),
                _mm512_shuffle_i32x4::<0xdd>(low, low_next),
                _mm512_shuffle_i32x4::<0x88>(high, high_next),
                _mm512_shuffle_i32x4::<0xdd>(high, high_next),
            ];
            for (col, tokens) in cols.into_iter().enumerate() {
                // SAFETY: the assertion: the panel has 64 bytes for each of the 64 columns from `start` on.
                unsafe { _mm512_storeu_si512(panel.as_mut_ptr().add((start + group * 4 + col) * WIDE).cast(), tokens) };
            }
        }
    }
}

/// Writes the integer `sums: [rows][16]` to the results of up to sixteen `tokens`, which `result(token, sums of its rows)` makes of them,
/// and finishes these.
///
/// # Safety
/// AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn unpack(
    sums: &[i32],
    rows: Range<usize>,
    tokens: Range<usize>,
    output: &mut OutputRows,
    result: impl Fn(usize, __m512i) -> __m512,
) {
    // SAFETY: the caller's promise.
    unsafe {
        avx512::unpack(sums, rows.clone(), tokens.clone(), output, |token, sums| result(token, _mm512_castps_si512(sums)));
    }
    output.finish(rows, tokens);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_values;

    #[test]
    fn wide_panels_hold_the_tokens_side_by_side() {
        if !Tier::Avx512.is_available() || Tier::Avx512.for_integers() != Tier::Avx512 {
            return;
        }
        for (tokens, cols) in [(0, 3), (1, 1), (3, 5), (16, 16), (17, 133), (64, 65), (50, 192)] {
            let rows = Rows { cols, stride: cols.next_multiple_of(64) };
            let x = random_values(tokens * cols, 1);
            let integers: Vec<u8> = (0..tokens * rows.stride).map(|at| (at * 7 + at / 251) as u8).collect();
            let mut panel = vec![f32::NAN; cols * WIDE];
            let mut bytes = vec![1; rows.stride * WIDE];
            pack(&TokenRows { values: &x, tokens, cols, stride: cols }, &mut panel);
            // SAFETY: the tier was just checked.
            unsafe { pack_bytes(&integers, &rows, &mut bytes) };
            for col in 0..cols {
                for token in 0..WIDE {
                    let expected = if token < tokens { x[token * cols + col] } else { 0.0 };
                    assert_eq!(panel[col * WIDE + token], expected, "{tokens} {cols}");
                    let expected = if token < tokens { integers[token * rows.stride + col] } else { 0 };
                    let place = token % 16 / 4 * 16 + token / 16 * 4 + token % 4;
                    assert_eq!(bytes[col * WIDE + place], expected, "{tokens} {cols}");
                }
            }
        }
    }
}

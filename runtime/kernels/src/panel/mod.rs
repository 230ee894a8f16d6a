//! Activations as panels, `[tile][col][lanes]`, where the tokens of a tile lie side by side, and results back from sums.
//!
//! Both ways are transpositions; with AVX-512 they are done 16 by 16 in registers.

pub(crate) mod groups;
pub(crate) mod wide;

use std::ops::Range;

use self::groups::TokenRows;
use crate::cpu::Tier;
use crate::operands::OutputRows;

/// Packs `x: [tokens, cols]` into `panels: [tiles, cols, lanes]`; lanes past the last token become zero.
pub(crate) fn pack(tier: Tier, x: &[f32], tokens: usize, cols: usize, panels: &mut [f32]) {
    let rows = TokenRows { values: x, tokens, cols, stride: cols };
    groups::pack(tier, &rows, cols * tier.lanes(), panels);
}

/// Writes `sums: [rows, lanes]` of one tile to the results of its `tokens`, and finishes them.
pub(crate) fn unpack(tier: Tier, sums: &[f32], rows: Range<usize>, tokens: Range<usize>, output: &mut OutputRows) {
    if tier == Tier::Avx512 && tier.is_available() {
        // SAFETY: the features were just checked.
        unsafe { avx512::unpack(sums, rows.clone(), tokens.clone(), output, |_, sums| sums) };
    } else {
        for (lane, token) in tokens.clone().enumerate() {
            let results = output.token_mut(token, rows.clone());
            for (result, sums) in results.iter_mut().zip(sums.chunks_exact(tier.lanes())) {
                *result = sums[lane];
            }
        }
    }
    output.finish(rows, tokens);
}

mod avx512 {
    use std::arch::x86_64::*;
    use std::ops::Range;

    use crate::buffer::Number;
    use crate::operands::OutputRows;

    /// Tokens, and rows, of a transposition.
    pub(super) const LANES: usize = 16;

    /// Writes what `result(token, sums of its rows)` makes of the sums, `[rows, LANES]` of 32 bits.
    ///
    /// # Safety
    /// AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn unpack<T: Number>(
        sums: &[T],
        rows: Range<usize>,
        tokens: Range<usize>,
        output: &mut OutputRows,
        result: impl Fn(usize, __m512) -> __m512,
    ) {
        const { assert!(size_of::<T>() == size_of::<f32>()) };
        assert!(rows.len() <= LANES && sums.len() >= rows.len() * LANES && tokens.len() <= LANES);
        let mut block = [_mm512_setzero_ps(); LANES];
        // Loops of a known length keep a block in registers.
        for (row, lanes) in block.iter_mut().enumerate() {
            if row < rows.len() {
                // SAFETY: the assertion: `sums` has `LANES` values for every row.
                *lanes = unsafe { _mm512_loadu_ps(sums.as_ptr().add(row * LANES).cast()) };
            }
        }
        let block = transpose(block);
        if rows.len() == LANES && tokens.len() == LANES {
            let results = output.results(rows, tokens.clone());
            for (lane, sums) in block.into_iter().enumerate() {
                // SAFETY: there are as many results of each token as lanes are written.
                unsafe { _mm512_storeu_ps(results.token(lane), result(tokens.start + lane, sums)) };
            }
            return;
        }
        for (lane, sums) in block.into_iter().enumerate() {
            if lane < tokens.len() {
                let token = tokens.start + lane;
                let place = output.token_mut(token, rows.clone());
                // SAFETY: `place` has as many values as lanes are written.
                unsafe { _mm512_mask_storeu_ps(place.as_mut_ptr(), first(place.len()), result(token, sums)) };
            }
        }
    }

    /// A mask of the first `count` lanes.
    pub(super) fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    /// Lane `j` of row `i` becomes lane `i` of row `j`: pairs, then quads inside of 128 bits, then the quads themselves.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] {
        let mut quads = rows;
        for (to, from) in quads.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
            let pairs = [
                _mm512_castps_pd(_mm512_unpacklo_ps(from[0], from[1])),
                _mm512_castps_pd(_mm512_unpackhi_ps(from[0], from[1])),
                _mm512_castps_pd(_mm512_unpacklo_ps(from[2], from[3])),
                _mm512_castps_pd(_mm512_unpackhi_ps(from[2], from[3])),
            ];
            to[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[0], pairs[2]));
            to[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[0], pairs[2]));
            to[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[1], pairs[3]));
            to[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[1], pairs[3]));
        }
        let mut cols = rows;
        for col in 0..4 {
            let even = |a: usize| _mm512_shuffle_f32x4::<0x88>(quads[a + col], quads[a + 4 + col]);
            let odd = |a: usize| _mm512_shuffle_f32x4::<0xdd>(quads[a + col], quads[a + 4 + col]);
            cols[col] = _mm512_shuffle_f32x4::<0x88>(even(0), even(8));
            cols[col + 4] = _mm512_shuffle_f32x4::<0x88>(odd(0), odd(8));
            cols[col + 8] = _mm512_shuffle_f32x4::<0xdd>(even(0), even(8));
            cols[col + 12] = _mm512_shuffle_f32x4::<0xdd>(odd(0), odd(8));
        }
        cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operands;
    use crate::testing::random_values;

    #[test]
    fn panels_hold_the_tokens_side_by_side_and_come_back() {
        for tier in Tier::available() {
            for (tokens, cols) in [(1, 1), (3, 5), (16, 16), (17, 33), (40, 12)] {
                let lanes = tier.lanes();
                let x = random_values(tokens * cols, 1);
                let mut panels = vec![f32::NAN; tokens.div_ceil(lanes) * cols * lanes];
                pack(tier, &x, tokens, cols, &mut panels);
                for (place, value) in panels.iter().enumerate() {
                    let (token, col) = (place / lanes / cols * lanes + place % lanes, place / lanes % cols);
                    let expected = if token < tokens { x[token * cols + col] } else { 0.0 };
                    assert_eq!(*value, expected, "{tier} {tokens} {cols}");
                }
                // Columns of the panels as if they were rows of sums.
                let rows = cols.min(lanes);
                let mut y = vec![f32::NAN; tokens * rows];
                let mut operands = Operands::new(&[], &mut y, tokens, rows, 0).unwrap();
                let mut output = operands.output();
                for (tile, panel) in panels.chunks(cols * lanes).enumerate() {
                    unpack(tier, panel, 0..rows, tile * lanes..tokens.min((tile + 1) * lanes), &mut output);
                }
                assert!((0..tokens).all(|token| y[token * rows..][..rows] == x[token * cols..][..rows]), "{tier}");
            }
        }
    }
}

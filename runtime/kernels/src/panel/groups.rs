//! Activations of 32 bits in groups of tiles, `[group][col][tile][lanes]`.

use std::arch::x86_64::*;

use rayon::prelude::*;

use super::avx512::{LANES, first, transpose};
use crate::buffer::Number;
use crate::cpu::Tier;
use crate::share::WORTH_A_THREAD;

/// Activations of 32 bits, token by token.
#[derive(Clone, Copy)]
pub(crate) struct TokenRows<'a, T> {
    /// `[tokens, stride]`; the last may end after `cols`.
    pub(crate) values: &'a [T],
    pub(crate) tokens: usize,
    pub(crate) cols: usize,
    /// Values from one token to the next, at least `cols`.
    pub(crate) stride: usize,
}

impl<T: Number> TokenRows<'_, T> {
    /// Up to `lanes` tokens from the first of a tile.
    pub(super) fn tile(&self, lanes: usize, tile: usize) -> Self {
        let first = tile * lanes;
        let values = self.values.get(first * self.stride..).unwrap_or_default();
        Self { values, tokens: self.tokens.saturating_sub(first).min(lanes), ..*self }
    }
}

/// Packs activations into groups of `group_len` values: tiles of a group lie side by side, as many as the length of the group, or of what
/// is left for the last, allows. Lanes past the last token and columns past the last become zero.
pub(crate) fn pack<T: Number>(tier: Tier, rows: &TokenRows<T>, group_len: usize, groups: &mut [T]) {
    let lanes = tier.lanes();
    let tiles = rows.tokens.div_ceil(lanes);
    if tiles == 0 || rows.cols == 0 {
        return groups.fill(T::default());
    }
    assert!((rows.tokens - 1) * rows.stride + rows.cols <= rows.values.len());
    let (cols, per_group) = (groups.len() / (tiles * lanes), group_len * tiles / groups.len());
    debug_assert!(cols >= rows.cols && groups.len() == tiles * cols * lanes && group_len == per_group * cols * lanes);
    let work = |(group, values): (usize, &mut [T])| {
        let count = values.len() / (cols * lanes);
        values[rows.cols * count * lanes..].fill(T::default());
        for tile in 0..count {
            pack_tile(tier, &rows.tile(lanes, group * per_group + tile), count, &mut values[tile * lanes..]);
        }
    };
    if rayon::current_num_threads() > 1 && rows.tokens * rows.cols >= WORTH_A_THREAD {
        groups.par_chunks_mut(group_len).enumerate().for_each(work);
    } else {
        groups.chunks_mut(group_len).enumerate().for_each(work);
    }
}

/// Packs up to `lanes` tokens; values of one column begin `tiles` vectors after those of the one before.
pub(super) fn pack_tile<T: Number>(tier: Tier, rows: &TokenRows<T>, tiles: usize, values: &mut [T]) {
    if tier == Tier::Avx512 && tier.is_available() {
        // SAFETY: the features were just checked.
        return unsafe { avx512(rows, tiles, values) };
    }
    let lanes = tier.lanes();
    for (col, values) in values.chunks_mut(tiles * lanes).enumerate().take(rows.cols) {
        for (token, value) in values.iter_mut().enumerate().take(lanes) {
            *value = if token < rows.tokens { rows.values[token * rows.stride + col] } else { T::default() };
        }
    }
}

/// Moves bits only, whatever their meaning.
///
/// # Safety
/// AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn avx512<T: Number>(rows: &TokenRows<T>, tiles: usize, values: &mut [T]) {
    const { assert!(size_of::<T>() == size_of::<f32>()) };
    let TokenRows { values: x, tokens, cols, stride } = *rows;
    assert!(tokens <= LANES && (tokens == 0 || (tokens - 1) * stride + cols <= x.len()));
    assert!(cols == 0 || values.len() >= (cols - 1) * tiles * LANES + LANES);
    for start in (0..cols).step_by(LANES) {
        let count = (cols - start).min(LANES);
        let mut block = [_mm512_setzero_ps(); LANES];
        for (token, row) in block.iter_mut().enumerate() {
            if token < tokens {
                // SAFETY: the assertion: columns of a token are inside of `x`; masked-out lanes are not read.
                *row = unsafe { _mm512_maskz_loadu_ps(first(count), x.as_ptr().add(token * stride + start).cast()) };
            }
        }
        for (col, lanes) in transpose(block).into_iter().enumerate() {
            if col < count {
                // SAFETY: the assertion: there is a vector of values for every column.
                unsafe { _mm512_storeu_ps(values.as_mut_ptr().add((start + col) * tiles * LANES).cast(), lanes) };
            }
        }
    }
}

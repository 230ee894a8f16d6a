//! Dense INT4 in blocks of 32 columns: an FP16 scale and 16 bytes, byte `i` with the values of column `i` in its low half and of column
//! `16 + i` in its high half, larger by eight so that they have no sign. It is the layout that llama.cpp calls `Q4_0`, and like there the
//! weights of a row are 4.5 bits each, whatever the groups of the matrix.

use std::sync::Arc;

use half::f16;

use super::{Dense, TILE};
use crate::buffer::Aligned;
use crate::cpu::Tier;
use crate::element::int4::{self, SHIFT, SomeTokens, TOKENS, Tokens, WORD};
use crate::element::{Element, Values};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_same_kind, expect_shape, repair_without_scale};
use crate::operands::{Operands, RowBlocks};
use crate::{KernelError, Mask, SparseMatrix};

/// Columns of a block.
const COLS: usize = 32;

/// Bytes of a block.
const BLOCK: usize = size_of::<f16>() + COLS / 2;

/// Bytes of the two blocks of a word.
const PAIR: usize = 2 * BLOCK;

/// Which column of a word meets each value, once the low halves of two blocks and then their high halves are put behind each other.
fn order(place: usize) -> usize {
    let (half, block, at) = (place / 32, place / 16 % 2, place % 16);
    block * COLS + half * 16 + at
}

/// *Invariant*: `blocks` has for each row a pair of blocks per word of columns, values of columns past the last being zero.
pub(super) struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    rows: RowBlocks,
    blocks: Aligned<u8>,
    bias: Vec<f32>,
}

impl Packed {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let mask = matrix.mask().clone();
        let words = mask.cols().div_ceil(WORD);
        let rows = RowBlocks::of_height(mask.rows(), TILE, |rows| rows.len() * mask.cols());
        let mut stored = Self { tier, rows, blocks: Aligned::zeros(mask.rows() * words * PAIR), bias: Vec::new(), mask };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    fn row(&self, row: usize) -> &[u8] {
        let len = self.mask.cols().div_ceil(WORD) * PAIR;
        &self.blocks[row * len..][..len]
    }
}

/// The scale of a block.
fn scale(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}

/// The value of a column of a block.
fn value(block: &[u8], col: usize) -> i32 {
    i32::from(block[size_of::<f16>() + col % 16] >> (col / 16 * 4) & 15) - SHIFT
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Dense.word()
    }

    fn element(&self) -> Element {
        Element::Int4
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let row_of_blocks = self.row(row);
        for col in self.mask.kept_cols(row) {
            let block = &row_of_blocks[col / COLS * BLOCK..][..BLOCK];
            visit(col, value(block, col % COLS) as f32 * scale(block));
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_kind(&self.mask, Element::Int4, matrix, bias)?;
        let Values::Int4 { values, scales, group } = matrix.values() else {
            return Err(KernelError::SelfCheck("values are not of their element".into()));
        };
        self.bias = bias.to_vec();
        let (cols, groups) = (matrix.cols(), matrix.cols().div_ceil(*group));
        let len = cols.div_ceil(WORD) * PAIR;
        for (row, blocks) in self.blocks.chunks_exact_mut(len.max(1)).enumerate() {
            for (at, block) in blocks.chunks_exact_mut(BLOCK).enumerate() {
                let first = at * COLS;
                let scale = if first < cols { scales[row * groups + first / group] } else { f16::ZERO };
                block[..size_of::<f16>()].copy_from_slice(&scale.to_le_bytes());
                let stored = |col: usize| {
                    let value = if first + col < cols { values[row * cols + first + col] } else { 0 };
                    (i32::from(value) + SHIFT) as u8
                };
                for (byte, to) in block[size_of::<f16>()..].iter_mut().enumerate() {
                    *to = stored(byte) | stored(16 + byte) << 4;
                }
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let data_bytes = self.blocks.bytes() + size_of_val(&self.bias[..]) + self.mask.bytes();
        Footprint { data_bytes, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.blocks.bytes() * tokens.div_ceil(TOKENS)
    }

    fn product(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let x = Tokens::round(self.tier, operands, 1, order);
        int4::product(operands, &self.rows, &x, &self.bias, |row, tokens| sums(self.tier, self.row(row), tokens));
        repair_without_scale(self, &self.bias, operands, &x.scales);
        Ok(())
    }
}

/// The sums of a row of pairs of blocks.
fn sums(tier: Tier, row: &[u8], x: SomeTokens) -> [f32; TOKENS] {
    #[cfg(target_arch = "x86_64")]
    if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
        // SAFETY: the line above checked the features; there are so many tokens.
        return unsafe {
            match x.count {
                1 => x86::sums::<1>(row, x),
                2 => x86::sums::<2>(row, x),
                3 => x86::sums::<3>(row, x),
                _ => x86::sums::<TOKENS>(row, x),
            }
        };
    }
    let _ = tier;
    let mut sums = [0.0; TOKENS];
    for (token, sum) in sums.iter_mut().enumerate().take(x.count) {
        let x = &x.integers[token * x.words * WORD..][..x.words * WORD];
        for (pair, x) in row.chunks_exact(PAIR).zip(x.chunks_exact(WORD)) {
            let mut of_block = [0; 2];
            for (place, x) in x.iter().enumerate() {
                let col = order(place);
                of_block[col / COLS] += i32::from(*x) * value(&pair[col / COLS * BLOCK..], col % COLS);
            }
            *sum += of_block[0] as f32 * scale(pair) + of_block[1] as f32 * scale(&pair[BLOCK..]);
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, PAIR};
    use crate::element::int4::{LANES, SomeTokens, TOKENS, WORD};

    /// How far ahead blocks are asked for.
    const AHEAD: usize = 2048;

    /// # Safety
    /// AVX-512 with VNNI; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn sums<const COUNT: usize>(row: &[u8], x: SomeTokens) -> [f32; TOKENS] {
        assert!(x.count == COUNT && row.len() == x.words * PAIR && x.groups == x.words);
        let low = _mm512_set1_epi8(15);
        let shifts = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
        // The lanes of two blocks: low halves of the first and the second, then high halves.
        let of_block = _mm512_set_epi32(1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0);
        let mut totals = [_mm512_setzero_ps(); COUNT];
        for word in 0..x.words {
            let pair = row.as_ptr().wrapping_add(word * PAIR);
            // A hint, whatever the address.
            _mm_prefetch::<_MM_HINT_T0>(pair.wrapping_add(AHEAD).cast());
            // SAFETY: the assertion: a pair of blocks for each word, each with its scale before its bytes.
            let (bytes, scales) = unsafe {
                let first = _mm_loadu_si128(pair.add(2).cast());
                let second = _mm_loadu_si128(pair.add(BLOCK + 2).cast());
                let scales = [pair, pair.add(BLOCK)].map(|scale| i32::from(scale.cast::<u16>().read_unaligned()));
                (_mm256_set_m128i(second, first), _mm_cvtsi32_si128(scales[0] | scales[1] << 16))
            };
            let weights = _mm512_and_si512(_mm512_srlv_epi16(_mm512_broadcast_i64x4(bytes), shifts), low);
            let scales = _mm512_permutexvar_ps(of_block, _mm512_castps128_ps512(_mm_maskz_cvtph_ps(3, scales)));
            for (token, total) in totals.iter_mut().enumerate() {
                let place = token * x.words + word;
                // SAFETY: the invariant of `SomeTokens`: activations and starts for each word of each token.
                let (x, start) = unsafe {
                    (
                        _mm512_loadu_si512(x.integers.as_ptr().add(place * WORD).cast()),
                        _mm512_loadu_si512(x.starts.as_ptr().add(place * LANES).cast()),
                    )
                };
                let sum = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, weights, x));
                *total = _mm512_fmadd_ps(sum, scales, *total);
            }
        }
        let mut sums = [0.0; TOKENS];
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = _mm512_reduce_add_ps(total);
        }
        sums
    }
}

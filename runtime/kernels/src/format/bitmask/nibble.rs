//! INT4: sixteen rows in the lanes of a vector, kept values as nibbles, and one scale for each row and group of columns.
//!
//! ```text
//!  16 rows, 8 columns: a word of 64 bits, and a byte for each bit that is set       lane 0    lane 1        lane 15
//!
//!   row  0   w . . w  . . . w       bits  0..4:  w..w | ...w = 1001                0: w.    .  .  .      . . . .
//!   row  1   . . . .  w . . .       bits  4..8:  1000                              1: .     .  w  .
//!    ...                                                                             low halves: columns 0 to 3 of a row
//!            lower    upper halves                                                  high halves: columns 4 to 7
//! ```
//!
//! A bit is set where one of two weights is kept, four columns apart, which are the halves of its byte: at 75 % as many bytes again for
//! each eight, but one expansion for 128 weights. Sums of a row stay in its lane, so nothing is added across lanes, and a scale is
//! a vector of sixteen rows. A pruned weight in a byte is a stored zero.
//!
//! Halves have a sign (two's complement), and nothing is all zeros; an affine map of bits takes one half out and adds [`SHIFT`] to it.
//! Sums begin at what that adds.

use std::sync::Arc;

use half::f16;

use super::Bitmask;
use crate::buffer::Aligned;
use crate::cpu::Tier;
use crate::element::int4::{self, LANES, PIECE, QUAD, STEP, Sums, TOKENS, Tile, Tokens, VECTOR};
use crate::element::{Element, Values};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_same_kind, expect_shape, repair_without_scale};
use crate::operands::Operands;
use crate::share::RowBlocks;
use crate::{KernelError, Mask, SparseMatrix};

/// *Invariant*: for each block of [`LANES`] rows and each [`STEP`] columns, of which whole [`PIECE`]s are there, `words` has a word, and
/// `values` a byte for each of its bits, those of block `b` from byte `starts[b]`, and [`VECTOR`] bytes after the last. `scales` is
/// `[blocks, groups, LANES]`.
pub(super) struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    blocks: RowBlocks,
    words: Aligned<u64>,
    values: Aligned<u8>,
    starts: Vec<usize>,
    scales: Aligned<f16>,
    /// Columns of a group.
    group: usize,
    bias: Vec<f32>,
}

/// The row of a block and the columns of a step that the halves of a byte belong to.
fn weights_of(lane: usize) -> (usize, [usize; 2]) {
    (lane / QUAD, [lane % QUAD, QUAD + lane % QUAD])
}

impl Packed {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let Values::Int4 { group, .. } = matrix.values() else {
            return Err(KernelError::SelfCheck("values are not of their element".into()));
        };
        let mask = matrix.mask().clone();
        let (blocks, steps) = (mask.rows().div_ceil(LANES), mask.cols().next_multiple_of(PIECE) / STEP);
        let (mut words, mut starts) = (Aligned::<u64>::zeros(blocks * steps), vec![0]);
        for block in 0..blocks {
            let mut bytes = 0;
            for row in block * LANES..mask.rows().min((block + 1) * LANES) {
                for col in mask.kept_cols(row) {
                    let lane = (row % LANES) * QUAD + col % QUAD;
                    words[block * steps + col / STEP] |= 1u64 << lane;
                }
            }
            for word in &words[block * steps..][..steps] {
                bytes += word.count_ones() as usize;
            }
            starts.push(starts[block] + bytes);
        }
        let cost = |rows: std::ops::Range<usize>| {
            let block = rows.start / LANES;
            2 * (starts[block + 1] - starts[block]) + steps * VECTOR / 8
        };
        let mut stored = Self {
            tier,
            blocks: RowBlocks::of_height(mask.rows(), LANES, cost),
            words,
            values: Aligned::zeros(starts[blocks] + VECTOR),
            starts,
            scales: Aligned::zeros(blocks * mask.cols().div_ceil(*group) * LANES),
            group: *group,
            bias: Vec::new(),
            mask,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    fn block(&self, block: usize) -> Block<'_> {
        let (blocks, steps) = (self.blocks.len(), self.words.len() / self.blocks.len());
        let scales = self.scales.len() / blocks;
        Block {
            words: &self.words[block * steps..][..steps],
            values: &self.values[self.starts[block]..],
            scales: &self.scales[block * scales..][..scales],
            group: self.group,
        }
    }

    /// Calls `visit(col, value)` for the kept values of a row.
    fn visit(&self, row: usize, visit: &mut dyn FnMut(usize, i32)) {
        self.block(row / LANES).visit(row % LANES, &mut |col, value| {
            if col < self.mask.cols() && self.mask.keeps(row, col) {
                visit(col, value);
            }
        });
    }
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Bitmask.word()
    }

    fn element(&self) -> Element {
        Element::Int4
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let block = self.block(row / LANES);
        self.visit(row, &mut |col, value| visit(col, value as f32 * block.scale(row % LANES, col / self.group)));
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_kind(&self.mask, Element::Int4, matrix, bias)?;
        let Values::Int4 { values, scales, group } = matrix.values() else {
            return Err(KernelError::SelfCheck("values are not of their element".into()));
        };
        if *group != self.group {
            return Err(KernelError::Shape(format!("the new weights have groups of {group} columns, not {}", self.group)));
        }
        self.bias = bias.to_vec();
        let (rows, cols, groups) = (matrix.rows(), matrix.cols(), matrix.cols().div_ceil(*group));
        for (row, scales) in scales.chunks_exact(groups.max(1)).enumerate() {
            for (group, scale) in scales.iter().enumerate() {
                self.scales[(row / LANES * groups + group) * LANES + row % LANES] = *scale;
            }
        }
        let mut bytes = self.values.iter_mut();
        let steps = cols.next_multiple_of(PIECE) / STEP;
        for (at, word) in self.words.iter().enumerate() {
            let (first_row, first_col) = (at / steps * LANES, at % steps * STEP);
            let half = |row: usize, col: usize| {
                let (row, col) = (first_row + row, first_col + col);
                let is_kept = row < rows && col < cols && self.mask.keeps(row, col);
                if is_kept { values[row * cols + col] as u8 & 15 } else { 0 }
            };
            for (lane, byte) in crate::mask::SetBits(*word).zip(&mut bytes) {
                let (row, [low, high]) = weights_of(lane);
                *byte = half(row, low) | half(row, high) << 4;
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let places = size_of_val(&self.starts[..]) + size_of_val(&self.bias[..]) + self.mask.bytes();
        Footprint { data_bytes: self.weight_bytes_read(1) + places, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.words.bytes() + self.values.bytes() + self.scales.bytes()) * tokens.div_ceil(TOKENS)
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let x = Tokens::round(self.tier, operands, self.group);
        int4::product(operands, &self.blocks, &x, &self.bias, |block, tile| self.block(block).sums(self.tier, tile));
        repair_without_scale(self, &self.bias, operands, &x.scales);
        Ok(())
    }
}

/// The rows of a block.
///
/// *Invariant*: there is a word for each step of the columns, four or a multiple of that to a group; a byte of `values` for each bit of
/// the words, with [`VECTOR`] bytes after them; and [`LANES`] scales for each group.
struct Block<'a> {
    words: &'a [u64],
    values: &'a [u8],
    scales: &'a [f16],
    group: usize,
}

impl Block<'_> {
    fn scale(&self, row: usize, group: usize) -> f32 {
        self.scales[group * LANES + row].to_f32()
    }

    /// Calls `visit(col, value)` for the values of a row that are stored, zeros among them.
    fn visit(&self, row: usize, visit: &mut dyn FnMut(usize, i32)) {
        let mut first = 0;
        for (step, word) in self.words.iter().enumerate() {
            for half in 0..2 {
                for lane in (row * QUAD..(row + 1) * QUAD).filter(|lane| word >> lane & 1 == 1) {
                    let byte = self.values[first + (word & ((1 << lane) - 1)).count_ones() as usize];
                    let nibble = if half == 0 { byte << 4 } else { byte };
                    visit(step * STEP + weights_of(lane).1[half], i32::from(nibble as i8 >> 4));
                }
            }
            first += word.count_ones() as usize;
        }
    }

    fn sums(&self, tier: Tier, x: &Tile) -> Sums {
        #[cfg(target_arch = "x86_64")]
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
            macro_rules! sums {
                ($count:literal) => {
                    // SAFETY: the line above checked the features; there are so many tokens.
                    unsafe { x86::sums::<$count>(self, x) }
                };
            }
            return crate::format::by_count!(x.count, sums!, 1, 2, 3, 4, 5, 6, 7, 8);
        }
        let _ = tier;
        let mut sums = [[0.0; LANES]; TOKENS];
        for row in 0..LANES {
            let of_row = x.sums_of_row(self.group, |group| self.scale(row, group), |visit| self.visit(row, visit));
            for (sums, sum) in sums.iter_mut().zip(of_row) {
                sums[row] = sum;
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::loaded;
    use super::{Block, LANES, STEP};
    use crate::element::int4::{HIGH, LOW, SHIFT, Sums, TOKENS, Tile};
    use crate::prefetch;

    /// Words that are read together.
    const WORDS: usize = 4;

    /// # Safety
    /// AVX-512 with VNNI, VBMI2 and GFNI; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi2,gfni,popcnt")]
    pub(super) unsafe fn sums<const COUNT: usize>(block: &Block, x: &Tile) -> Sums {
        let (words, []) = block.words.as_chunks::<WORDS>() else { unreachable!("whole pieces") };
        let of_group = block.group / STEP / WORDS;
        assert!(x.count == COUNT && x.steps() == block.words.len() && x.starts.len() == COUNT * x.groups);
        assert!(block.scales.len() == LANES * x.groups && x.groups == words.len().div_ceil(of_group));
        let [low, high] = [LOW, HIGH].map(|map| _mm512_set1_epi64(map));
        let (mut values, mut quads) = (block.values.as_ptr(), x.quads.as_ptr());
        let mut totals = [_mm512_setzero_ps(); COUNT];
        for (group, words) in words.chunks(of_group).enumerate() {
            // Of low halves, of high halves; and again for odd steps of one token: additions to the same sum wait for each other.
            let mut lanes = [[_mm512_setzero_si512(); COUNT]; 4];
            lanes[0] = std::array::from_fn(|token| _mm512_set1_epi32(x.starts[group * COUNT + token]));
            // What is written out here the compiler keeps in registers, which it does not with a loop over steps.
            macro_rules! step {
                ($bits:expr, $first:expr) => {
                    prefetch::ask_ahead::<COUNT, _>(values);
                    // SAFETY: fewer values are used than the words so far have bits, and a vector from there ends inside of the padding.
                    let kept = unsafe { _mm512_loadu_si512(values.cast()) };
                    let bytes = _mm512_maskz_expand_epi8($bits, loaded(kept));
                    // SAFETY: as many values as the word has bits.
                    values = unsafe { values.add($bits.count_ones() as usize) };
                    let weights = _mm512_gf2p8affine_epi64_epi8::<SHIFT>(bytes, low);
                    for token in 0..COUNT {
                        // SAFETY: the assertion: two quads of each token for each word.
                        let x = _mm512_set1_epi32(unsafe { *quads.add(token) });
                        lanes[$first][token] = _mm512_dpbusd_epi32(lanes[$first][token], weights, x);
                    }
                    let weights = _mm512_gf2p8affine_epi64_epi8::<SHIFT>(bytes, high);
                    for token in 0..COUNT {
                        // SAFETY: as above.
                        let x = _mm512_set1_epi32(unsafe { *quads.add(COUNT + token) });
                        lanes[$first + 1][token] = _mm512_dpbusd_epi32(lanes[$first + 1][token], weights, x);
                    }
                    // SAFETY: as above.
                    quads = unsafe { quads.add(2 * COUNT) };
                };
            }
            let scales = block.scales[group * LANES..][..LANES].as_ptr();
            prefetch::ask_ahead::<COUNT, _>(scales);
            let odd = const { if COUNT == 1 { 2 } else { 0 } };
            for words in words {
                prefetch::ask_ahead::<COUNT, _>(words.as_ptr());
                step!(words[0], 0);
                step!(words[1], odd);
                step!(words[2], 0);
                step!(words[3], odd);
            }
            // SAFETY: sixteen scales.
            let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(scales.cast()) });
            for (token, total) in totals.iter_mut().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at| lanes[at][token]);
                let sum = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, *total);
            }
        }
        let mut sums = [[0.0; LANES]; TOKENS];
        for (sums, total) in sums.iter_mut().zip(totals) {
            // SAFETY: room for sixteen sums.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
        }
        sums
    }
}

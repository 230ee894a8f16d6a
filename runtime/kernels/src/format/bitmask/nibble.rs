//! INT4: the kept values of each word of the mask as nibbles, which begin on a byte, and one scale for each group of columns.
//!
//! With AVX-512, 32 bytes become 64 nibbles in their own bytes, are expanded over the bits of the word, and meet the activations; what is
//! pruned becomes a stored zero. Nibbles have no sign: they are larger by [`int4::SHIFT`], pruned ones too, and sums begin at what
//! that adds.

use std::sync::Arc;

use super::{Bitmask, ROWS, WORD};
use crate::buffer::Aligned;
use crate::cpu::Tier;
use crate::element::int4::{self, SHIFT, SomeTokens, TOKENS, Tokens};
use crate::element::{Element, Values};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_same_kind, expect_shape, repair_without_scale};
use crate::operands::{Operands, RowBlocks};
use crate::{KernelError, Mask, SparseMatrix};

/// Bytes past the last value that a vector load may touch.
const PADDING: usize = 32;

/// *Invariant*: `values` holds for each word of the mask the nibbles of its bits, low half of a byte first, those of row `r` from byte
/// `starts[r]`, and [`PADDING`] bytes after the last; `scales` is `[rows, groups, halves]` where a word has so many groups or a group so
/// many words.
pub(super) struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    blocks: RowBlocks,
    values: Aligned<u8>,
    starts: Vec<usize>,
    /// Widened to FP32, which the multiplication reads as it is.
    scales: Aligned<f32>,
    /// Columns of a group.
    group: usize,
    bias: Vec<f32>,
}

impl Packed {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let Values::Int4 { group, .. } = matrix.values() else {
            return Err(KernelError::SelfCheck("values are not of their element".into()));
        };
        let mask = matrix.mask().clone();
        let mut starts = vec![0];
        for row in 0..mask.rows() {
            let bytes: usize = mask.row(row).iter().map(|bits| bytes_of(*bits)).sum();
            starts.push(starts[row] + bytes);
        }
        let blocks = RowBlocks::of_height(mask.rows(), ROWS, |rows| {
            2 * (starts[rows.end] - starts[rows.start]) + rows.len() * mask.cols() / 8
        });
        let mut stored = Self {
            tier,
            blocks,
            values: Aligned::zeros(starts[mask.rows()] + PADDING),
            starts,
            scales: Aligned::zeros(mask.rows() * (mask.cols().next_multiple_of(WORD.max(*group)) / group)),
            group: *group,
            bias: Vec::new(),
            mask,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    /// Words that share a scale; one where a word has two.
    fn group_words(&self) -> usize {
        (self.group / WORD).max(1)
    }

    fn scales_of(&self, row: usize) -> &[f32] {
        let per_row = self.scales.len() / self.mask.rows();
        &self.scales[row * per_row..][..per_row]
    }

    fn row(&self, row: usize) -> Row<'_> {
        Row {
            words: self.mask.row(row),
            values: &self.values[self.starts[row]..],
            scales: self.scales_of(row),
            group: self.group,
        }
    }
}

/// Bytes of the nibbles of a word.
fn bytes_of(bits: u64) -> usize {
    (bits.count_ones() as usize).div_ceil(2)
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
        let scales = self.scales_of(row);
        self.row(row).visit(|col, value| visit(col, value as f32 * scales[col / self.group]));
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
        let (cols, rows) = (matrix.cols(), matrix.rows());
        let (groups, per_row) = (cols.div_ceil(*group), self.scales.len() / rows.max(1));
        for row in 0..rows {
            for (to, scale) in self.scales[row * per_row..].iter_mut().zip(&scales[row * groups..][..groups]) {
                *to = scale.to_f32();
            }
            let mut first = self.starts[row];
            for (word, bits) in self.mask.row(row).iter().enumerate() {
                self.values[first..first + bytes_of(*bits)].fill(0);
                for (at, col) in crate::mask::SetBits(*bits).enumerate() {
                    let nibble = (i32::from(values[row * cols + word * WORD + col]) + SHIFT) as u8;
                    self.values[first + at / 2] |= nibble << (at % 2 * 4);
                }
                first += bytes_of(*bits);
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let places = size_of_val(&self.starts[..]) + size_of_val(&self.bias[..]);
        Footprint { data_bytes: self.values.bytes() + self.scales.bytes() + self.mask.bytes() + places, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.values.bytes() + self.scales.bytes() + self.mask.bytes()) * tokens.div_ceil(TOKENS)
    }

    fn product(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let x = Tokens::round(self.tier, operands, self.group_words(), |place| place);
        int4::product(operands, &self.blocks, &x, &self.bias, |row, tokens| self.row(row).sums(self.tier, tokens));
        repair_without_scale(self, &self.bias, operands, &x.scales);
        Ok(())
    }
}

/// One row.
///
/// *Invariant*: there are values for the bits of all words, with [`PADDING`] bytes after them, and scales for whole words and groups.
struct Row<'a> {
    words: &'a [u64],
    values: &'a [u8],
    scales: &'a [f32],
    group: usize,
}

impl Row<'_> {
    /// Calls `visit(col, value)` for each kept value.
    fn visit(&self, mut visit: impl FnMut(usize, i32)) {
        let mut first = 0;
        for (word, bits) in self.words.iter().enumerate() {
            for (at, col) in crate::mask::SetBits(*bits).enumerate() {
                visit(word * WORD + col, i32::from(self.values[first + at / 2] >> (at % 2 * 4) & 15) - SHIFT);
            }
            first += bytes_of(*bits);
        }
    }

    fn sums(&self, tier: Tier, x: SomeTokens) -> [f32; TOKENS] {
        #[cfg(target_arch = "x86_64")]
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
            // SAFETY: the line above checked the features; there are so many tokens.
            return unsafe {
                match (x.count, self.group < WORD) {
                    (1, false) => x86::sums::<1, false>(self, x),
                    (2, false) => x86::sums::<2, false>(self, x),
                    (3, false) => x86::sums::<3, false>(self, x),
                    (_, false) => x86::sums::<TOKENS, false>(self, x),
                    (1, true) => x86::sums::<1, true>(self, x),
                    (2, true) => x86::sums::<2, true>(self, x),
                    (3, true) => x86::sums::<3, true>(self, x),
                    (_, true) => x86::sums::<TOKENS, true>(self, x),
                }
            };
        }
        let _ = tier;
        let mut sums = [0.0; TOKENS];
        for (token, sum) in sums.iter_mut().enumerate().take(x.count) {
            let (mut of_group, mut group) = (0, 0);
            self.visit(|col, value| {
                if col / self.group != group {
                    *sum += of_group as f32 * self.scales[group];
                    (of_group, group) = (0, col / self.group);
                }
                of_group += value * i32::from(x.integers[token * x.words * WORD + col]);
            });
            *sum += self.scales.get(group).map_or(0.0, |scale| of_group as f32 * scale);
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{AHEAD, WORD, loaded};
    use super::{Row, bytes_of};
    use crate::element::int4::{LANES, SHIFT, SomeTokens, TOKENS};

    /// # Safety
    /// AVX-512 with VNNI and VBMI2; `COUNT` tokens; `HALVES` says whether a word has two groups.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi2,popcnt")]
    pub(super) unsafe fn sums<const COUNT: usize, const HALVES: bool>(row: &Row, x: SomeTokens) -> [f32; TOKENS] {
        let group_words = (row.group / WORD).max(1);
        assert!(x.count == COUNT && x.words == row.words.len() && x.groups == x.words.div_ceil(group_words));
        assert!(row.scales.len() == if HALVES { 2 * x.groups } else { x.groups });
        let (low, pruned) = (_mm512_set1_epi16(0x0f0f), _mm512_set1_epi8(SHIFT as i8));
        let mut values = row.values.as_ptr();
        let mut totals = [_mm512_setzero_ps(); COUNT];
        for (group, words) in row.words.chunks(group_words).enumerate() {
            // A hint, whatever the address.
            _mm_prefetch::<_MM_HINT_T0>(values.wrapping_add(AHEAD).cast());
            // SAFETY: the invariant of `SomeTokens`: a vector of starts for each group of each token.
            let mut lanes: [__m512i; COUNT] = std::array::from_fn(|token| unsafe {
                _mm512_loadu_si512(x.starts.as_ptr().add((token * x.groups + group) * LANES).cast())
            });
            for (word, bits) in words.iter().enumerate() {
                // SAFETY: fewer bytes are used than the words so far have, and 32 from there end inside of the padding.
                let bytes = _mm512_cvtepu8_epi16(unsafe { _mm256_loadu_si256(values.cast()) });
                // Two nibbles from 16 bits: (bytes | bytes << 4) & low.
                let nibbles = _mm512_ternarylogic_epi32::<0xe0>(low, bytes, _mm512_slli_epi16::<4>(bytes));
                let weights = _mm512_mask_expand_epi8(pruned, *bits, loaded(nibbles));
                for (token, lanes) in lanes.iter_mut().enumerate() {
                    let place = (token * x.words + group * group_words + word) * WORD;
                    // SAFETY: the invariant of `SomeTokens`: a word of activations for each word of each token.
                    let x = unsafe { _mm512_loadu_si512(x.integers.as_ptr().add(place).cast()) };
                    *lanes = _mm512_dpbusd_epi32(*lanes, weights, x);
                }
                // SAFETY: as many bytes as the nibbles of the word have.
                values = unsafe { values.add(bytes_of(*bits)) };
            }
            let scale = if HALVES {
                let [low, high] = [2 * group, 2 * group + 1].map(|at| _mm512_set1_ps(row.scales[at]));
                _mm512_mask_blend_ps(0xff00, low, high)
            } else {
                _mm512_set1_ps(row.scales[group])
            };
            for (total, lanes) in totals.iter_mut().zip(lanes) {
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lanes), scale, *total);
            }
        }
        let mut sums = [0.0; TOKENS];
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = _mm512_reduce_add_ps(total);
        }
        sums
    }
}

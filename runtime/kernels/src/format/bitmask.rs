//! `bitmask`: one bit per weight and the kept values, row by row. The fewest bytes an unstructured mask allows, for products of few
//! tokens, where reading the weights is what takes time.
//!
//! Kept values are put back in their lanes in registers: with AVX-512 by the expand instruction, with AVX2 by a table of
//! permutations; the portable version walks over the set bits. A product does [`TOKENS`] tokens at a time, so the values are read
//! once for each [`TOKENS`].

use std::ops::Range;
use std::sync::Arc;

use super::{Compressed, Footprint, Format, Target, expect_same_mask, expect_shape, repair_non_finite};
use crate::buffer::{Aligned, Scratch};
use crate::cpu::Tier;
use crate::error::{Result, expect_length};
use crate::operands::{Operands, OutputRows, RowBlocks};
use crate::{KernelError, Mask, SparseMatrix};

/// Tokens that share one reading of the weights.
const TOKENS: usize = 4;

/// Rows that are computed together: as many streams of values that memory can be busy with.
const ROWS: usize = 4;

/// Columns per word of the mask.
const WORD: usize = 64;

/// Values past the last one that a vector load may touch.
const PADDING: usize = 16;

/// The word `bitmask`.
pub struct Bitmask;

impl Format for Bitmask {
    fn word(&self) -> &'static str {
        "bitmask"
    }

    fn about(&self) -> &'static str {
        "one bit per weight and the kept values, put back in their lanes in registers"
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        let values = (0..matrix.rows()).flat_map(|row| matrix.kept(row).map(|(_, weight)| weight)).collect();
        Ok(Box::new(Packed::from_parts(matrix.mask().clone(), values, bias, target.tier)?))
    }
}

/// A matrix as a mask and its kept values.
///
/// *Invariant*: `values` holds the kept values by rows, those of row `r` from `starts[r]`, and at least [`PADDING`] zeros after
/// the last; `starts` has one entry more than there are rows.
pub struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    blocks: RowBlocks,
    values: Aligned,
    starts: Vec<usize>,
    bias: Vec<f32>,
}

impl Packed {
    /// The matrix with the kept `values` in the order of the mask, row by row; `bias: [rows]`.
    ///
    /// # Errors
    /// When there are more or fewer values than the mask keeps, or biases than rows.
    pub fn from_parts(mask: Arc<Mask>, values: Vec<f32>, bias: &[f32], tier: Tier) -> Result<Self> {
        expect_length("biases", bias.len(), mask.rows())?;
        if values.len() != mask.kept() {
            let reason = format!("{} values under a mask that keeps {}", values.len(), mask.kept());
            return Err(KernelError::Malformed { what: "bitmask matrix", reason });
        }
        let mut starts = vec![0];
        for row in 0..mask.rows() {
            starts.push(starts[row] + mask.kept_in_row(row));
        }
        let mut padded = Aligned::zeros(values.len() + PADDING);
        padded[..values.len()].copy_from_slice(&values);
        // A row costs its values and a little for its words.
        let blocks =
            RowBlocks::of_height(mask.rows(), ROWS, |rows| starts[rows.end] - starts[rows.start] + rows.len() * mask.cols() / 8);
        Ok(Self { mask, tier, blocks, values: padded, starts, bias: bias.to_vec() })
    }
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Bitmask.word()
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        for (col, value) in self.mask.kept_cols(row).zip(&self.values[self.starts[row]..]) {
            visit(col, *value);
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_mask(&self.mask, matrix, bias)?;
        self.bias.copy_from_slice(bias);
        for row in 0..matrix.rows() {
            for (to, (_, weight)) in self.values[self.starts[row]..].iter_mut().zip(matrix.kept(row)) {
                *to = weight;
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let values = self.values.len() + self.bias.len();
        let starts = self.starts.len() * size_of::<usize>();
        Footprint { data_bytes: values * size_of::<f32>() + self.mask.bytes() + starts, ..Footprint::default() }
    }

    fn product(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let (tokens, cols) = (operands.tokens(), operands.cols());
        // Rows of whole words, so that the last word of a row needs no other code.
        let stride = cols.div_ceil(WORD) * WORD;
        let mut x = Scratch::take(tokens * stride);
        for (to, from) in x.chunks_exact_mut(stride.max(1)).zip(operands.x().chunks_exact(cols.max(1))) {
            to[..cols].copy_from_slice(from);
            to[cols..].fill(0.0);
        }
        self.blocks.run(operands, |blocks, output| {
            for start in (0..tokens).step_by(TOKENS) {
                let group = start..(start + TOKENS).min(tokens);
                for block in blocks.clone() {
                    self.rows(self.blocks.rows(block), &x[start * stride..group.end * stride], group.clone(), output);
                }
            }
        });
        repair_non_finite(self, &self.bias, operands);
        Ok(())
    }
}

/// Sums of up to [`ROWS`] rows for up to [`TOKENS`] tokens.
type Sums = [[f32; ROWS]; TOKENS];

impl Packed {
    /// Results of up to [`ROWS`] rows for up to [`TOKENS`] tokens, whose padded activations are `x`.
    fn rows(&self, rows: Range<usize>, x: &[f32], tokens: Range<usize>, output: &mut OutputRows) {
        let streams = Streams {
            rows: std::array::from_fn(|row| self.stream(rows.start + row, row < rows.len())),
            x,
            values: self.starts[rows.end] - self.starts[rows.start],
        };
        let mut sums = Sums::default();
        streams.multiply(self.tier, tokens.len(), &mut sums);
        for (token, sums) in tokens.zip(sums) {
            for ((result, sum), bias) in output.token_mut(token, rows.clone()).iter_mut().zip(sums).zip(&self.bias[rows.clone()])
            {
                *result = bias + sum;
            }
        }
    }

    /// The words and values of a row; those of a row that is not there are empty.
    fn stream(&self, row: usize, is_there: bool) -> Stream<'_> {
        if !is_there {
            return Stream { words: &[], values: &self.values[..0] };
        }
        Stream { words: self.mask.row(row), values: &self.values[self.starts[row]..] }
    }
}

/// One row: its words, and its values with [`PADDING`] more behind them.
struct Stream<'a> {
    words: &'a [u64],
    values: &'a [f32],
}

/// The rows of one block, and the padded activations of its tokens, one after the other.
///
/// *Invariant*: a row has as many values as its words have bits, and at least [`PADDING`] more behind them; each token has an
/// activation for every bit of a word.
struct Streams<'a> {
    rows: [Stream<'a>; ROWS],
    x: &'a [f32],
    /// Values of all rows together: so far ahead lie those of the next block.
    values: usize,
}

impl Streams<'_> {
    fn multiply(&self, tier: Tier, tokens: usize, sums: &mut Sums) {
        if tokens == 0 || self.x.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if tier > Tier::Portable && tier.is_available() {
            // SAFETY: the line above checked the features; `x` holds `tokens` tokens.
            unsafe {
                match (tier, tokens) {
                    (Tier::Avx512, 1) => x86::avx512::<1>(self, sums),
                    (Tier::Avx512, 2) => x86::avx512::<2>(self, sums),
                    (Tier::Avx512, 3) => x86::avx512::<3>(self, sums),
                    (Tier::Avx512, _) => x86::avx512::<TOKENS>(self, sums),
                    _ => x86::avx2(self, tokens, sums),
                }
            }
            return;
        }
        let _ = tier;
        let stride = self.x.len() / tokens;
        for (row, Stream { words, values }) in self.rows.iter().enumerate() {
            let mut values = values.iter();
            for (word, bits) in words.iter().enumerate() {
                let mut bits = *bits;
                while bits != 0 {
                    let col = word * WORD + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let value = values.next().copied().unwrap_or_default();
                    for (token, sums) in sums.iter_mut().enumerate().take(tokens) {
                        sums[row] += value * self.x[token * stride + col];
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with vectors.

    use std::arch::x86_64::*;

    use super::{ROWS, Streams, Sums, WORD};

    /// # Safety
    /// AVX-512 F; `x` holds `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    pub(super) unsafe fn avx512<const COUNT: usize>(streams: &Streams, sums: &mut Sums) {
        let words = streams.x.len() / COUNT / WORD;
        let mut values = streams.rows.each_ref().map(|row| row.values.as_ptr());
        let mut lanes = [[_mm512_setzero_ps(); ROWS]; COUNT];
        for word in 0..words {
            let bits: [u64; ROWS] = std::array::from_fn(|row| streams.rows[row].words.get(word).copied().unwrap_or_default());
            // The quarters are written out so that sums stay in registers.
            macro_rules! quarter {
                ($quarter:literal) => {
                    // SAFETY: a quarter of a word of activations, for each of `COUNT` tokens of `words` words.
                    let x: [__m512; COUNT] = std::array::from_fn(|token| unsafe {
                        _mm512_loadu_ps(streams.x.as_ptr().add((token * words + word) * WORD + $quarter * 16))
                    });
                    for row in 0..ROWS {
                        let before = (bits[row] & ((1u64 << ($quarter * 16)) - 1)).count_ones() as usize;
                        // SAFETY: fewer values are used than the words so far have bits; a vector from there ends inside of the
                        // padding, which the values of an absent row have too.
                        let kept = unsafe { _mm512_loadu_ps(values[row].add(before)) };
                        if $quarter % 2 == 0 {
                            // A hint, whatever the address.
                            _mm_prefetch::<_MM_HINT_T0>(values[row].wrapping_add(before + streams.values).cast());
                        }
                        let weights = _mm512_maskz_expand_ps((bits[row] >> ($quarter * 16)) as __mmask16, kept);
                        for token in 0..COUNT {
                            lanes[token][row] = _mm512_fmadd_ps(weights, x[token], lanes[token][row]);
                        }
                    }
                };
            }
            quarter!(0);
            quarter!(1);
            quarter!(2);
            quarter!(3);
            for row in 0..ROWS {
                // SAFETY: as many values as the word has bits.
                values[row] = unsafe { values[row].add(bits[row].count_ones() as usize) };
            }
        }
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            *sums = lanes.map(|lanes| _mm512_reduce_add_ps(lanes));
        }
    }

    /// For each byte of a mask, which of the next kept values belongs in each lane; -1 where none does.
    static LANES: [[i8; 8]; 256] = lanes();

    const fn lanes() -> [[i8; 8]; 256] {
        let mut table = [[-1; 8]; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut lane, mut next) = (0, 0);
            while lane < 8 {
                if byte >> lane & 1 == 1 {
                    table[byte][lane] = next;
                    next += 1;
                }
                lane += 1;
            }
            byte += 1;
        }
        table
    }

    /// # Safety
    /// AVX2 and FMA; `x` holds `tokens` tokens.
    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) unsafe fn avx2(streams: &Streams, tokens: usize, sums: &mut Sums) {
        let stride = streams.x.len() / tokens;
        for (row, stream) in streams.rows.iter().enumerate() {
            let mut lanes = [_mm256_setzero_ps(); super::TOKENS];
            let mut used = 0;
            for (word, bits) in stream.words.iter().enumerate() {
                for (place, byte) in bits.to_le_bytes().into_iter().enumerate() {
                    // SAFETY: a row of the table is 8 bytes; fewer values are used than the words before have bits, and a vector
                    // from there ends inside the padding.
                    let (table, kept) = unsafe {
                        (_mm_loadl_epi64(LANES[byte as usize].as_ptr().cast()), _mm256_loadu_ps(stream.values.as_ptr().add(used)))
                    };
                    let index = _mm256_cvtepi8_epi32(table);
                    let is_kept = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(-1)));
                    let weights = _mm256_and_ps(_mm256_permutevar8x32_ps(kept, index), is_kept);
                    used += byte.count_ones() as usize;
                    for (token, lanes) in lanes.iter_mut().enumerate().take(tokens) {
                        // SAFETY: eight columns of a word, and there are `tokens` tokens of `stride` activations.
                        let x = unsafe { _mm256_loadu_ps(streams.x.as_ptr().add(token * stride + word * WORD + place * 8)) };
                        *lanes = _mm256_fmadd_ps(weights, x, *lanes);
                    }
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                let mut parts = [0.0f32; 8];
                // SAFETY: `parts` has room for eight values.
                unsafe { _mm256_storeu_ps(parts.as_mut_ptr(), lanes) };
                sums[row] = parts.iter().sum();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_be_those_the_mask_keeps() {
        let mask = Arc::new(Mask::from_fn(2, 3, |row, _| row == 1));
        assert!(Packed::from_parts(mask.clone(), vec![1.0, 2.0, 3.0], &[0.0; 2], Tier::Portable).is_ok());
        let error = Packed::from_parts(mask, vec![1.0; 4], &[0.0; 2], Tier::Portable).err().unwrap();
        assert_eq!(error.to_string(), "malformed bitmask matrix: 4 values under a mask that keeps 3");
    }
}

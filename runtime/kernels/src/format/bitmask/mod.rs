//! `bitmask`: one bit per weight and the kept values, row by row. The fewest bytes an unstructured mask allows, for products of few
//! tokens, where reading the weights is what takes time.
//!
//! Kept values are put back in their lanes in registers: with AVX-512 by the expand instruction, with AVX2 by a table of
//! permutations; the portable version walks over the set bits. A product does [`TOKENS`] tokens at a time, so the values are read
//! once for each [`TOKENS`]. One token alone is multiplied row by row: then memory is one stream from front to back.
//! INT4 (`nibble`) has rows in lanes instead, and eight tokens at a time.

mod float;
mod integer;
mod nibble;

use std::ops::Range;
use std::sync::Arc;

use half::bf16;

use super::{Compressed, Footprint, Format, Target, expect_shape, repair_non_finite, repair_without_scale, values_of_same_kind};
use crate::buffer::{Aligned, Number, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, RowTerms, Stored};
use crate::error::Result;
use crate::operands::{Operands, OutputRows};
use crate::share::RowBlocks;
use crate::{Mask, SparseMatrix};

/// Tokens that share one reading of the weights.
const TOKENS: usize = 4;

/// Rows that are computed together: they share what is loaded of the activations.
const ROWS: usize = 4;

/// Columns per word of the mask.
const WORD: usize = 64;

/// Values past the last one that a vector load may touch.
const PADDING: usize = 64;

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
        Ok(match matrix.element() {
            Element::Fp32 => Box::new(Packed::<f32>::new(matrix, bias, target.tier)?),
            Element::Bf16 => Box::new(Packed::<bf16>::new(matrix, bias, target.tier)?),
            Element::Int8 => Box::new(Packed::<i8>::new(matrix, bias, target.tier)?),
            Element::Int4 => Box::new(nibble::Packed::new(matrix, bias, target.tier)?),
        })
    }
}

/// What `bitmask` must know of an element.
trait Kept: Stored {
    /// An activation as it is multiplied.
    type Activation: Number;
    /// What the products of a row are added up in.
    type Sum: Copy + Default;

    /// The activations of every token, `stride` of them each, a whole number of words; those past the last column are finite.
    fn activations(tier: Tier, operands: &Operands, stride: usize) -> Activations<Self::Activation>;

    /// The sums of the products of `tokens` tokens.
    fn multiply(tier: Tier, streams: &Streams<Self>, tokens: usize, sums: &mut Sums<Self>);

    /// The result that belongs to a sum.
    fn result(terms: &RowTerms, row: usize, sum: Self::Sum, token_scale: f32) -> f32;
}

/// Activations of every token, and the scale of each token where the element has one.
struct Activations<T> {
    values: Scratch<T>,
    scales: Option<Scratch<f32>>,
}

/// Sums of up to [`ROWS`] rows for up to [`TOKENS`] tokens.
type Sums<T> = [[<T as Kept>::Sum; ROWS]; TOKENS];

/// A matrix as a mask and its kept values.
///
/// *Invariant*: `values` holds the kept values by rows, those of row `r` from `starts[r]`, and at least [`PADDING`] zeros after
/// the last; `starts` has one entry more than there are rows.
struct Packed<T: Kept> {
    mask: Arc<Mask>,
    tier: Tier,
    blocks: RowBlocks,
    values: Aligned<T>,
    starts: Vec<usize>,
    terms: RowTerms,
    /// The words of a row that keeps nothing.
    no_words: Vec<u64>,
}

impl<T: Kept> Packed<T> {
    fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let mask = matrix.mask().clone();
        let mut starts = vec![0];
        for row in 0..mask.rows() {
            starts.push(starts[row] + mask.kept_in_row(row));
        }
        // A row costs its values and a little for its words.
        let blocks =
            RowBlocks::of_height(mask.rows(), ROWS, |rows| starts[rows.end] - starts[rows.start] + rows.len() * mask.cols() / 8);
        let values = Aligned::zeros(starts[mask.rows()] + PADDING);
        let (terms, no_words) = (RowTerms::zeros(mask.rows(), 1), vec![0; mask.cols().div_ceil(WORD)]);
        let mut stored = Self { tier, blocks, values, starts, terms, no_words, mask };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }
}

impl<T: Kept> Compressed for Packed<T> {
    fn word(&self) -> &'static str {
        Bitmask.word()
    }

    fn element(&self) -> Element {
        T::ELEMENT
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        for (col, value) in self.mask.kept_cols(row).zip(&self.values[self.starts[row]..]) {
            visit(col, value.widen() * self.terms.scales[row]);
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, scales) = values_of_same_kind::<T>(&self.mask, matrix, bias)?;
        self.terms.set(values, scales, bias);
        for (row, values) in values.chunks_exact(matrix.cols().max(1)).enumerate() {
            for (to, col) in self.values[self.starts[row]..].iter_mut().zip(self.mask.kept_cols(row)) {
                *to = values[col];
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let starts = self.starts.len() * size_of::<usize>();
        let data_bytes = self.values.bytes() + self.mask.bytes() + self.terms.bytes() + starts;
        Footprint { data_bytes, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.footprint().data_bytes * tokens.div_ceil(TOKENS)
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let tokens = operands.tokens();
        // Whole words, so that the last word of a row needs no other code.
        let stride = operands.cols().div_ceil(WORD) * WORD;
        let x = T::activations(self.tier, operands, stride);
        self.blocks.run(operands, |blocks, output| {
            for start in (0..tokens).step_by(TOKENS) {
                let group = start..(start + TOKENS).min(tokens);
                for block in blocks.clone() {
                    self.rows(self.blocks.rows(block), &x, stride, group.clone(), output);
                }
            }
        });
        match &x.scales {
            Some(scales) => repair_without_scale(self, &self.terms.bias, operands, scales),
            None => repair_non_finite(self, &self.terms.bias, operands),
        }
        Ok(())
    }
}

impl<T: Kept> Packed<T> {
    /// Results of up to [`ROWS`] rows for up to [`TOKENS`] tokens.
    fn rows(
        &self,
        rows: Range<usize>,
        x: &Activations<T::Activation>,
        stride: usize,
        tokens: Range<usize>,
        output: &mut OutputRows,
    ) {
        let streams = Streams {
            rows: std::array::from_fn(|row| self.stream(rows.start + row, row < rows.len())),
            x: &x.values[tokens.start * stride..tokens.end * stride],
            values: self.starts[rows.end] - self.starts[rows.start],
        };
        let mut sums = Sums::<T>::default();
        if !streams.x.is_empty() {
            T::multiply(self.tier, &streams, tokens.len(), &mut sums);
        }
        for (token, sums) in tokens.clone().zip(sums) {
            let scale = x.scales.as_ref().map_or(1.0, |scales| scales[token]);
            for ((result, sum), row) in output.token_mut(token, rows.clone()).iter_mut().zip(sums).zip(rows.clone()) {
                *result = T::result(&self.terms, row, sum, scale);
            }
        }
        output.finish(rows, tokens);
    }

    /// The words and values of a row; one that is not there keeps nothing.
    fn stream(&self, row: usize, is_there: bool) -> Stream<'_, T> {
        if !is_there {
            return Stream { words: &self.no_words, values: &self.values[..0] };
        }
        Stream { words: self.mask.row(row), values: &self.values[self.starts[row]..] }
    }
}

/// One row: its words, and its values with [`PADDING`] more behind them.
struct Stream<'a, T> {
    words: &'a [u64],
    values: &'a [T],
}

/// The rows of one block, and the padded activations of its tokens, one after the other.
///
/// *Invariant*: rows have equally many words; a row has as many values as its words have bits, and at least [`PADDING`] more behind
/// them; each token has an activation for every bit of a row's words.
struct Streams<'a, T: Kept> {
    rows: [Stream<'a, T>; ROWS],
    x: &'a [T::Activation],
    /// Values of all rows together: so far ahead lie those of the next block.
    values: usize,
}

impl<T: Kept> Streams<'_, T> {
    /// One word of each row. Asks, a cache line at a time, for those of the next block, which lie as far ahead as the rows of this one
    /// together: the hardware foresees long runs, and these are many short ones.
    ///
    /// # Safety
    /// Rows have more than `word` words.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn words(&self, word: usize) -> [u64; ROWS] {
        if word.is_multiple_of(8) {
            for row in &self.rows {
                crate::prefetch::ask(row.words.as_ptr().wrapping_add(word + ROWS * row.words.len()));
            }
        }
        // SAFETY: the caller's promise.
        self.rows.each_ref().map(|row| unsafe { *row.words.get_unchecked(word) })
    }

    /// Calls `visit(row, token, value, activation)` for every kept value, the plain way.
    fn visit(&self, tokens: usize, mut visit: impl FnMut(usize, usize, T, T::Activation)) {
        let stride = self.x.len() / tokens;
        for (row, Stream { words, values }) in self.rows.iter().enumerate() {
            let mut values = values.iter();
            for (word, bits) in words.iter().enumerate() {
                let mut bits = *bits;
                while bits != 0 {
                    let col = word * WORD + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let value = values.next().copied().unwrap_or_default();
                    for token in 0..tokens {
                        visit(row, token, value, self.x[token * stride + col]);
                    }
                }
            }
        }
    }
}

/// A vector that stays loaded. Expanding is several times slower from memory than from a register (Zen 4), and the compiler would make
/// one instruction of the load and the expansion.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn loaded(mut vector: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512i {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("/* {0} */", inout(zmm_reg) vector, options(pure, nomem, nostack, preserves_flags)) };
    vector
}

/// For each byte of a mask, which of the next kept values belongs in each lane; -1 where none does.
#[cfg(target_arch = "x86_64")]
static LANES_OF_KEPT: [[i8; 8]; 256] = lanes_of_kept();

#[cfg(target_arch = "x86_64")]
const fn lanes_of_kept() -> [[i8; 8]; 256] {
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

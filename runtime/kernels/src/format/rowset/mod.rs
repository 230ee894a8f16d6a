//! `rowset`: for six rows at a time, columns are grouped by the set of rows that keep them. A row set is a loop whose body is known
//! when this program is compiled: it loads the activations of a column, 64 tokens in lanes, and multiplies them with one weight of each
//! row of the set. A zero costs nothing, and a column is loaded once for all rows that keep it.
//!
//! This is sparse register tiling (Wilkinson, Cheshmi, Dehnavi 2023, "Register tiling for unstructured sparsity in neural network
//! inference") with every set of rows a micro-kernel of its own. New are the products of integers: four columns of one row set are
//! interleaved in registers, so that one instruction multiplies and adds them up for sixteen tokens, and the [`plan`] of how many such
//! entries each row set has, the same for all strips. Where weights are kept in blocks of 1x4, the four columns of a block are packed
//! that way beforehand ([`quads`]), and a block is treated as one weight.

mod float;
mod integer;
mod plan;
mod quads;
mod sets;
mod single;

use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::Arc;

use half::bf16;

use self::quads::Quads;
use self::sets::{Entry, ROWS, SETS, Sets};
use super::{Compressed, Footprint, Format, Target, expect_shape, values_of_same_kind};
use crate::buffer::{Aligned, Number, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, RowTerms, Stored};
use crate::error::{Result, expect_length};
use crate::operands::{Operands, OutputRows};
use crate::panel::wide::WIDE;
use crate::share::RowBlocks;
use crate::{KernelError, Mask, SparseMatrix};

/// Lanes of a vector.
const LANES: usize = 16;

/// Vectors of the tokens of a tile.
const VECTORS: usize = WIDE / LANES;

/// How many bytes ahead weights are asked for.
const WEIGHTS_AHEAD: usize = 1536;

/// Rows whose sums wait to be transposed together: whole strips, and whole vectors of results.
const SLAB: usize = 48;

/// Slabs that go over one piece of the activations before the next.
const SLABS_OF_A_PIECE: usize = 8;

/// Tokens whose results are asked for while one strip is computed: all of a tile during a slab.
const TOKENS_PER_STRIP: usize = WIDE * ROWS / SLAB;

/// Bytes of the activations in one piece at most: so many stay in the second-level cache.
const PIECE_BYTES: usize = 512 << 10;

/// The word `rowset`.
pub struct RowSet;

impl Format for RowSet {
    fn word(&self) -> &'static str {
        "rowset"
    }

    fn about(&self) -> &'static str {
        "columns grouped by the set of rows that keep them"
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        Ok(match matrix.element() {
            Element::Fp32 => Box::new(Packed::<f32>::new(matrix, bias, target.tier)?),
            Element::Bf16 => Box::new(Packed::<bf16>::new(matrix, bias, target.tier)?),
            Element::Int8 if Quads::SERVES.holds(matrix.mask()) => Box::new(Packed::<Quads>::new(matrix, bias, target.tier)?),
            Element::Int8 => Box::new(Packed::<i8>::new(matrix, bias, target.tier)?),
            Element::Int4 => return Err(KernelError::Refused("it multiplies no int4".into())),
        })
    }
}

/// What `rowset` must know of what it multiplies.
trait Multiply: Sized {
    /// How weights are stored.
    type Weight: Stored;

    /// An activation as it is multiplied.
    type Activation: Number;

    /// A sum of products.
    type Sum: Number;

    /// What the activations became before they are packed.
    type Rounded: Sync;

    /// What an entry is made of: as many columns as one instruction adds up.
    const ENTRY: Entry;

    /// Fails where the instructions are missing that this element is multiplied with.
    fn expect_instructions(tier: Tier) -> Result<()>;

    /// Rounds all activations, where the element wants that.
    fn round(operands: &Operands) -> Self::Rounded;

    /// The activations of up to [`WIDE`] tokens, side by side: `[place][WIDE]`.
    fn pack(operands: &Operands, rounded: &Self::Rounded, panel: &mut [Self::Activation]);

    /// Where the sums of all rows begin.
    fn starts(terms: &RowTerms) -> &[Self::Sum];

    /// Adds the products of a strip to its sums.
    ///
    /// # Safety
    /// The CPU has the instructions of [`Multiply::expect_instructions`].
    unsafe fn multiply(strip: &Strip<Self>, sums: &mut [Self::Sum]);

    /// Turns sums, `[rows][LANES]`, into the results of up to [`LANES`] rows and tokens.
    ///
    /// # Safety
    /// As for [`Multiply::multiply`].
    unsafe fn finish(terms: &RowTerms, rounded: &Self::Rounded, sums: &[Self::Sum], part: Part, output: &mut OutputRows);

    /// Computes again what a token with NaN or infinity made wrong.
    fn repair(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands, rounded: &Self::Rounded);
}

/// Which results are meant.
struct Part {
    rows: Range<usize>,
    tokens: Range<usize>,
}

/// *Invariant*: `sets` are those of `mask`, and `values` has one for each of their slots; `terms` has one for every row of every
/// slab. The instructions of the element are there.
struct Packed<T: Multiply> {
    mask: Arc<Mask>,
    slabs: RowBlocks,
    sets: Sets,
    /// Weights; zero where an entry has a row, a place or a column too many.
    values: Aligned<T::Weight>,
    terms: RowTerms,
}

impl<T: Multiply> Packed<T> {
    fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        T::expect_instructions(tier)?;
        let mask = matrix.mask().clone();
        let sets = Sets::of(&mask, T::ENTRY, PIECE_BYTES / WIDE / size_of::<T::Activation>());
        let cost = |rows: Range<usize>| rows.map(|row| mask.kept_in_row(row) + 1).sum();
        let mut stored = Self {
            slabs: RowBlocks::of_height(mask.rows(), SLAB, cost),
            values: Aligned::zeros(sets.len()),
            terms: RowTerms::zeros(mask.rows(), SLAB),
            sets,
            mask,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    /// The strips of some rows.
    fn strips(&self, rows: Range<usize>) -> Range<usize> {
        rows.start / ROWS * self.sets.pieces..rows.end.div_ceil(ROWS) * self.sets.pieces
    }

    /// Numbers of the activations of a group. Where entries have several places, these are packed 64 at a time, and there is one more than
    /// the matrix has, which places too many point to.
    fn panel_len(&self) -> usize {
        let places = self.sets.places() + T::ENTRY.spare();
        if T::ENTRY.fold > 1 { places.next_multiple_of(64) * WIDE } else { places.max(1) * WIDE }
    }

    /// Results of the rows of some slabs for so many tokens.
    fn slabs(&self, rows: Range<usize>, panel: &[T::Activation], rounded: &T::Rounded, tokens: usize, output: &mut OutputRows) {
        let of_slab = |slab: usize| rows.start + slab * SLAB..(rows.start + (slab + 1) * SLAB).min(rows.end);
        let mut sums = Scratch::take(rows.len().div_ceil(SLAB) * SLAB * WIDE);
        // Piece by piece, so that the activations of a piece stay near.
        for piece in 0..self.sets.pieces {
            for (index, strip) in self.strips(rows.clone()).skip(piece).step_by(self.sets.pieces).enumerate() {
                let (slab, row) = (index * ROWS / SLAB, index * ROWS % SLAB);
                let first_row = rows.start + index * ROWS;
                let places = self.sets.places_of(strip);
                let work = Strip {
                    counts: self.sets.counts(strip),
                    places: self.sets.places_and_ahead(strip),
                    values: &self.values[self.sets.values(strip)],
                    x: &panel[places.start * WIDE..(places.end + T::ENTRY.spare()) * WIDE],
                    starts: (piece == 0).then(|| &T::starts(&self.terms)[first_row..first_row + ROWS]),
                    row,
                };
                work.ask_for_counts(self.sets.pieces);
                // Some of the results at a time, while there is other work.
                if piece + 1 == self.sets.pieces {
                    let first = (row / ROWS * TOKENS_PER_STRIP).min(tokens);
                    output.ask_for(of_slab(slab), first..(first + TOKENS_PER_STRIP).min(tokens));
                }
                // SAFETY: the invariant: the instructions were there when this was made.
                unsafe { T::multiply(&work, &mut sums[slab * SLAB * WIDE..][..SLAB * WIDE]) };
            }
        }
        for (slab, sums) in sums.chunks_exact(SLAB * WIDE).enumerate() {
            for (first, sums) in (0..tokens).step_by(LANES).zip(sums.chunks_exact(SLAB * LANES)) {
                for (row, sums) in of_slab(slab).step_by(LANES).zip(sums.chunks_exact(LANES * LANES)) {
                    let part = Part { rows: row..(row + LANES).min(rows.end), tokens: first..(first + LANES).min(tokens) };
                    // SAFETY: as above.
                    unsafe { T::finish(&self.terms, rounded, sums, part, output) };
                }
            }
        }
    }
}

impl<T: Multiply> Compressed for Packed<T> {
    fn word(&self) -> &'static str {
        RowSet.word()
    }

    fn element(&self) -> Element {
        <T::Weight as Stored>::ELEMENT
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let mut slots = Vec::new();
        for strip in self.strips(row..row + 1) {
            self.sets.visit(&self.mask, strip, |slot| {
                if slot.row == row {
                    slots.push((slot.col, slot.index));
                }
            });
        }
        slots.sort_unstable();
        slots.into_iter().for_each(|(col, index)| visit(col, self.values[index].widen() * self.terms.scales[row]));
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, scales) = values_of_same_kind::<T::Weight>(&self.mask, matrix, bias)?;
        self.terms.set(values, scales, bias);
        for strip in self.strips(0..matrix.rows()) {
            self.sets.visit(&self.mask, strip, |slot| self.values[slot.index] = values[slot.row * matrix.cols() + slot.col]);
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let data_bytes = self.values.bytes() + self.sets.bytes() + self.terms.bytes() + self.mask.bytes();
        Footprint { data_bytes, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.values.bytes() + self.sets.bytes()) * tokens.div_ceil(WIDE)
    }

    fn group(&self) -> usize {
        WIDE
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let (tokens, rounded) = (operands.tokens(), T::round(operands));
        assert!(tokens <= WIDE, "a group of {tokens} tokens");
        let mut panel = Scratch::take(self.panel_len());
        T::pack(operands, &rounded, &mut panel);
        self.slabs.run(operands, |slabs, output| {
            // Where there are pieces, many rows go over one before the next is near.
            let together = if self.sets.pieces > 1 { SLABS_OF_A_PIECE } else { 1 };
            for first in slabs.clone().step_by(together) {
                let last = (first + together).min(slabs.end) - 1;
                self.slabs(self.slabs.rows(first).start..self.slabs.rows(last).end, &panel, &rounded, tokens, output);
            }
        });
        T::repair(self, &self.terms.bias, operands, &rounded);
        Ok(())
    }
}

/// Six rows by one piece, and the activations of a tile.
///
/// *Invariant*: as [`Sets`] promises for `counts`, `places` and `values`; `x` has [`WIDE`] activations for each place that is named.
struct Strip<'a, T: Multiply> {
    counts: &'a [u16; SETS],
    places: &'a [u16],
    values: &'a [T::Weight],
    x: &'a [T::Activation],
    /// Where the sums of the six rows begin, unless they go on from an earlier piece.
    starts: Option<&'a [T::Sum]>,
    /// The first of the rows in its slab.
    row: usize,
}

impl<T: Multiply> Strip<'_, T> {
    /// Asks for the counts of the strip that is so far ahead, which decide where its loops end.
    fn ask_for_counts(&self, ahead: usize) {
        for line in self.counts.chunks(32) {
            let next = line.as_ptr().wrapping_add(ahead * SETS);
            // SAFETY: a prefetch is a hint, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(next.cast()) };
        }
    }

    /// The invariant, as far as it can be seen.
    fn check(&self, sums: &[T::Sum]) {
        assert!(self.row + ROWS <= SLAB && sums.len() == SLAB * WIDE);
        assert!(self.starts.is_none_or(|starts| starts.len() == ROWS) && self.places.len() >= sets::AHEAD);
    }

    /// The sums of the rows as they are before the products of this strip.
    ///
    /// # Safety
    /// AVX-512 F, enabled where this is called.
    #[inline(always)]
    unsafe fn load(&self, sums: &[T::Sum]) -> [[__m512i; VECTORS]; ROWS] {
        const { assert!(size_of::<T::Sum>() == 4) };
        self.check(sums);
        // SAFETY: the caller promises the instructions. `check`: there is a start for each row, and there are sums for every row of the slab.
        unsafe {
            let mut strip = [[_mm512_setzero_si512(); VECTORS]; ROWS];
            for (row, strip) in strip.iter_mut().enumerate() {
                for (vector, strip) in strip.iter_mut().enumerate() {
                    *strip = match self.starts {
                        Some(starts) => _mm512_set1_epi32(starts.as_ptr().add(row).cast::<i32>().read()),
                        None => _mm512_loadu_si512(sums.as_ptr().add(sums_at(vector, self.row + row)).cast()),
                    };
                }
            }
            strip
        }
    }

    /// Writes the sums of the rows where they belong.
    ///
    /// # Safety
    /// As for [`Strip::load`].
    #[inline(always)]
    unsafe fn store(&self, strip: [[__m512i; VECTORS]; ROWS], sums: &mut [T::Sum]) {
        self.check(sums);
        for (row, strip) in strip.into_iter().enumerate() {
            for (vector, strip) in strip.into_iter().enumerate() {
                // SAFETY: as for `load`.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().add(sums_at(vector, self.row + row)).cast(), strip) };
            }
        }
    }
}

/// Where, among the sums of a slab, `[WIDE / LANES][SLAB][LANES]`, those of a row for one vector of tokens begin.
const fn sums_at(vector: usize, row: usize) -> usize {
    (vector * SLAB + row) * LANES
}

/// Calls `$call!(set)` for every row set, the smallest number first.
macro_rules! each_set {
    ($call:ident!) => {
        each_set!(@ $call 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
        each_set!(@ $call 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    };
    (@ $call:ident $($set:literal)*) => {
        $($call!($set);)*
    };
}
use each_set;

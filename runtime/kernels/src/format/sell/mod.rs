//! `sell`: sliced ELLPACK. Sixteen rows lie in the lanes of a vector; a step multiplies as many weights of each row as fill its 32-bit
//! lane, four of INT8 or one of FP32, and a byte per weight says which activation it meets.
//!
//! What is new over SELL-C-sigma (Kreutzer et al. 2014, "A unified sparse matrix data format for efficient general sparse
//! matrix-vector multiplication on modern processors with wide SIMD units"): the activations of a step come from one window of 64
//! bytes, so a permutation of a register fetches them for all rows, and no memory is gathered. For each token a step takes that
//! permutation and one multiply-add; weights and places are read once for up to [`TILE`] tokens. Zeros that fill up steps are
//! multiplied, other zeros are not there; and results come out as rows, so neither activations nor results are transposed.

mod float;
mod integer;
mod steps;

use std::ops::Range;
use std::sync::Arc;

use half::bf16;

use self::steps::{LANES, PIECE_BYTES, PITCH_BYTES, Steps};
use super::{Compressed, Footprint, Format, Target, expect_shape, values_of_same_kind};
use crate::buffer::{Aligned, Number, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, Layout, RowTerms, Stored};
use crate::error::{Result, expect_length};
use crate::operands::{Operands, OutputRows, Results};
use crate::share::RowBlocks;
use crate::{KernelError, Mask, SparseMatrix};

/// Tokens that share one reading of the weights at most: their sums, with weights, places and what was permuted, fill 32 registers.
const TILE: usize = 24;

/// Tokens of a group: whole tiles, and whole groups of the formats that take 64.
const GROUP: usize = 8 * TILE;

/// The word `sell`.
pub struct Sell;

impl Format for Sell {
    fn word(&self) -> &'static str {
        "sell"
    }

    fn about(&self) -> &'static str {
        "sliced ELLPACK, its places inside of registers"
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        Ok(match matrix.element() {
            Element::Fp32 => Box::new(Packed::<f32>::new(matrix, bias, target.tier)?),
            Element::Bf16 => Box::new(Packed::<bf16>::new(matrix, bias, target.tier)?),
            Element::Int8 => Box::new(Packed::<i8>::new(matrix, bias, target.tier)?),
            Element::Int4 => return Err(KernelError::Refused("it multiplies no int4".into())),
        })
    }
}

/// What `sell` must know of an element.
trait Lookup: Stored {
    /// An activation as it is multiplied.
    type Activation: Number;

    /// Fails where the instructions are missing that this element is multiplied with.
    fn expect_instructions(tier: Tier) -> Result<()>;

    /// The activations of every token in pieces, and the scale of each token.
    fn activations(tier: Tier, operands: &Operands, pieces: &Pieces) -> (Scratch<Self::Activation>, Scratch<f32>);

    /// Computes again what a token with NaN or infinity made wrong.
    fn repair(stored: &Packed<Self>, operands: &mut Operands, scales: &[f32]);

    /// Computes the results of a slice.
    ///
    /// # Safety
    /// The CPU has the instructions of [`Lookup::expect_instructions`].
    unsafe fn multiply(slice: &Slice<Self>);
}

/// *Invariant*: `steps` are those of `mask`; `places` and `values` have an entry for each of their slots, and `terms` for every lane of
/// every slice. The instructions of the element are there.
struct Packed<T: Lookup> {
    mask: Arc<Mask>,
    tier: Tier,
    slices: RowBlocks,
    steps: Steps,
    /// Which activation of its window each weight meets.
    places: Aligned<u8>,
    /// Weights, zero where no row has one.
    values: Aligned<T>,
    terms: RowTerms,
}

impl<T: Lookup> Packed<T> {
    fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        T::expect_instructions(tier)?;
        let mask = matrix.mask().clone();
        let steps = Steps::of(&mask, size_of::<T::Activation>());
        let cost = |rows: Range<usize>| {
            let range = steps.of_slice(rows.start / LANES);
            (range[range.len() - 1] - range[0]) * LANES
        };
        let mut places = Aligned::zeros(steps.len());
        for row in 0..mask.rows() {
            steps.visit_row(&mask, row, |slot| places[slot.index] = slot.place);
        }
        let mut stored = Self {
            tier,
            slices: RowBlocks::of_height(mask.rows(), LANES, cost),
            places,
            values: Aligned::zeros(steps.len()),
            terms: RowTerms::zeros(mask.rows(), LANES),
            steps,
            mask,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }
}

impl<T: Lookup> Compressed for Packed<T> {
    fn word(&self) -> &'static str {
        Sell.word()
    }

    fn element(&self) -> Element {
        T::ELEMENT
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let scale = self.terms.scales[row];
        self.steps.visit_row(&self.mask, row, |slot| visit(slot.col, self.values[slot.index].widen() * scale));
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, scales) = values_of_same_kind::<T>(&self.mask, matrix, bias)?;
        self.terms.set(values, scales, bias);
        for row in 0..matrix.rows() {
            let weights = &values[row * matrix.cols()..][..matrix.cols()];
            self.steps.visit_row(&self.mask, row, |slot| self.values[slot.index] = weights[slot.col]);
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let steps = self.places.bytes() + self.values.bytes() + self.steps.bytes();
        Footprint { data_bytes: steps + self.terms.bytes() + self.mask.bytes(), ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.places.bytes() + self.values.bytes() + self.steps.bytes()) * tokens.div_ceil(TILE)
    }

    fn group(&self) -> usize {
        GROUP
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let tokens = operands.tokens();
        let pieces = Pieces::of::<T>(operands, self.steps.pieces);
        let (x, scales) = T::activations(self.tier, operands, &pieces);
        self.slices.run(operands, |slices, output| {
            for (tile, start) in (0..tokens).step_by(pieces.tile).enumerate() {
                let group = start..(start + pieces.tile).min(tokens);
                let len = pieces.group_len();
                for slice in slices.clone() {
                    self.slice(slice, &x[tile * len..][..len], &scales, group.clone(), output);
                }
            }
        });
        T::repair(self, operands, &scales);
        Ok(())
    }
}

impl<T: Lookup> Packed<T> {
    /// Results of one slice for one tile of tokens.
    fn slice(&self, slice: usize, x: &[T::Activation], scales: &[f32], tokens: Range<usize>, output: &mut OutputRows) {
        output.tile::<TILE, LANES>(self.slices.rows(slice), LANES, tokens.clone(), |results| {
            let lanes = slice * LANES..(slice + 1) * LANES;
            let work = Slice {
                steps: self.steps.of_slice(slice),
                windows: self.steps.windows(),
                places: &self.places,
                values: &self.values,
                x,
                starts: &self.terms.starts[lanes.clone()],
                row_scales: &self.terms.scales[lanes.clone()],
                bias: &self.terms.bias[lanes],
                token_scales: &scales[tokens.clone()],
                results,
            };
            // SAFETY: the invariant: the instructions were there when this was made.
            unsafe { T::multiply(&work) };
        });
    }
}

/// One slice and the activations of a tile.
///
/// *Invariant*: the steps are ranges of `windows`, and of `places` and `values`, which have sixteen lanes of slots for each; `x` has
/// [`TILE`] times [`PITCH_BYTES`] for each range of steps; there are sixteen rows of terms; and each token that has a scale, at most
/// [`TILE`], has room for sixteen results.
struct Slice<'a, T: Lookup> {
    steps: &'a [usize],
    windows: &'a [u16],
    places: &'a [u8],
    values: &'a [T],
    x: &'a [T::Activation],
    starts: &'a [i32],
    row_scales: &'a [f32],
    bias: &'a [f32],
    token_scales: &'a [f32],
    results: Results,
}

impl<T: Lookup> Slice<'_, T> {
    /// The invariant, as far as it can be seen.
    fn check(&self) {
        let (last, slots) = (self.steps[self.steps.len() - 1], size_of::<u32>() / size_of::<T::Activation>());
        assert!(self.windows.len() >= last && self.places.len().min(self.values.len()) >= last * LANES * slots);
        assert!(size_of_val(self.x) >= (self.steps.len() - 1) * TILE * PITCH_BYTES);
        assert!(self.starts.len() == LANES && self.row_scales.len() == LANES && self.bias.len() == LANES);
        assert!(self.token_scales.len() <= TILE);
    }
}

/// How activations lie: tile by tile, piece by piece, token by token, [`PITCH_BYTES`] apart.
struct Pieces {
    /// Tokens per tile: as few tiles as can be, of nearly the same size.
    tile: usize,
    pieces: usize,
    cols: usize,
    /// Bytes of one activation.
    size: usize,
}

impl Pieces {
    fn of<T: Lookup>(operands: &Operands, pieces: usize) -> Self {
        let tokens = operands.tokens();
        let tile = tokens.div_ceil(tokens.div_ceil(TILE).max(1)).max(1);
        Self { tile, pieces, cols: operands.cols(), size: size_of::<T::Activation>() }
    }
}

impl Layout for Pieces {
    fn group(&self) -> usize {
        self.tile
    }

    fn group_len(&self) -> usize {
        self.pieces * TILE * PITCH_BYTES / self.size
    }

    fn spans(&self, token: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (piece_cols, pitch) = (PIECE_BYTES / self.size, PITCH_BYTES / self.size);
        (0..self.pieces).map(move |piece| {
            let cols = piece * piece_cols..((piece + 1) * piece_cols).min(self.cols);
            (cols, (piece * TILE + token) * pitch)
        })
    }
}

/// Calls `$call!(count)` with the number of tokens of a tile as a literal.
macro_rules! by_tokens {
    ($count:expr, $call:ident!) => {
        $crate::format::by_count!(
            $count, $call!, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24
        )
    };
}
use by_tokens;

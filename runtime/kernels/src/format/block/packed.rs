//! A matrix in blocks, and its product.

use std::ops::Range;
use std::sync::Arc;

use super::activations::{Activations, Tiles};
use super::lanes::Multiplied;
use super::multiply::{Finish, Multiply};
use super::runs::{CHUNK, Runs};
use super::{Block, Shape, most_tiles};
use crate::buffer::{Aligned, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, RowTerms};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_shape, repair_without_scale, values_of_same_kind};
use crate::operands::{Operands, OutputRows};
use crate::panel;
use crate::share::RowBlocks;
use crate::{Mask, SparseMatrix};

/// Tokens of a group at most, where fewer are multiplied together: as many as AVX-512 does where blocks are wide.
const GROUP: usize = 128;

/// *Invariant*: `runs` are those of `mask`, in which `shape` was found; `weights` has for each block the weights of its rows for each
/// multiplication, `[block][multiplication][row]`; there are terms for every row.
pub(super) struct Packed<T: Multiplied> {
    mask: Arc<Mask>,
    tier: Tier,
    shape: Shape,
    chunks: RowBlocks,
    runs: Runs,
    weights: Aligned<T::Weight>,
    terms: RowTerms,
}

impl<T: Multiplied> Packed<T> {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], shape: Shape, tier: Tier) -> Result<Self> {
        let mask = matrix.mask().clone();
        let runs = Runs::of(&mask, shape, T::COLS);
        let weights = Aligned::zeros(runs.places.len() * shape.rows() * shape.cols() / T::COLS);
        let cost = |rows: Range<usize>| rows.map(|row| mask.kept_in_row(row)).sum();
        let chunks = RowBlocks::of_height(mask.rows(), CHUNK, cost);
        let terms = RowTerms::zeros(mask.rows(), 1);
        let mut stored = Self { tier, shape, chunks, runs, weights, terms, mask };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    /// Multiplications of one row with a block.
    fn each(&self) -> usize {
        self.shape.cols() / T::COLS
    }

    /// Results of one chunk for one group of tokens, whose activations are `x`; `sums` has room for those of a chunk.
    fn chunk(&self, chunk: usize, x: &Activations<T>, group: usize, sums: &mut [T::Sum], output: &mut OutputRows) {
        let (rows, tiles, lanes) = (self.chunks.rows(chunk), x.tiles.group(group), self.tier.lanes());
        let (first, height) = (self.runs.first_run(chunk), self.runs.height(chunk));
        let work = Multiply {
            shape: self.shape,
            tiles: tiles.len(),
            height,
            pieces: self.runs.pieces,
            piece_len: self.runs.piece * self.each() * tiles.len() * lanes,
            starts: &self.runs.starts[first..=first + self.runs.pieces * height],
            places: &self.runs.places,
            weights: &self.weights,
            x: x.group(group),
            sums,
        };
        output.ask_for(rows.clone(), x.tiles.tile(tiles.start).start..x.tiles.tile(tiles.end - 1).end);
        if self.runs.pieces == 0 {
            sums.fill(T::Sum::default());
        } else {
            T::dispatch(self.tier, work);
        }
        let mut results = [0.0; MOST_LANES * MOST_LANES];
        for (at, tile) in tiles.clone().enumerate() {
            for start in rows.clone().step_by(lanes) {
                let work = Finish {
                    sums: &sums[((start - rows.start) * tiles.len() + at) * lanes..],
                    tiles: tiles.len(),
                    rows: start..(start + lanes).min(rows.end),
                    terms: &self.terms,
                    scales: x.scales_of_tile(tile),
                    results: &mut results,
                };
                let rows = work.rows.clone();
                T::dispatch(self.tier, work);
                panel::unpack(self.tier, &results, rows, x.tiles.tile(tile), output);
            }
        }
    }
}

/// Lanes of the widest tier.
const MOST_LANES: usize = Tier::Avx512.lanes();

impl<T: Multiplied> Compressed for Packed<T> {
    fn word(&self) -> &'static str {
        Block.word()
    }

    fn element(&self) -> Element {
        T::ELEMENT
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        self.runs.visit_row(row, |block, first| {
            for (at, col) in (first..(first + self.shape.cols()).min(self.mask.cols())).enumerate() {
                let weight = self.weights[self.shape.place(self.each(), block, at / T::COLS, row)];
                visit(col, T::value(weight, at % T::COLS).widen() * self.terms.scales[row]);
            }
        });
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, scales) = values_of_same_kind::<T>(&self.mask, matrix, bias)?;
        self.terms.set(values, scales, bias);
        let (each, Self { shape, runs, weights, .. }) = (self.each(), self);
        for row in 0..matrix.rows() {
            let values = &values[row * matrix.cols()..][..matrix.cols()];
            runs.visit_row(row, |block, first| {
                let cols = &values[first..(first + shape.cols()).min(values.len())];
                for (multiplication, values) in cols.chunks(T::COLS).enumerate() {
                    weights[shape.place(each, block, multiplication, row)] = T::weight(values);
                }
            });
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let data_bytes = self.weights.bytes() + self.runs.bytes() + self.terms.bytes() + self.mask.bytes();
        Footprint { data_bytes, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.weights.bytes() + self.runs.bytes()) * Tiles::of(tokens, self.shape, self.tier).groups()
    }

    fn group(&self) -> usize {
        let together = most_tiles(self.shape, self.tier) * self.tier.lanes();
        (GROUP / together).max(1) * together
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let x = Activations::<T>::of(operands, self.shape, self.tier);
        self.chunks.run(operands, |chunks, output| {
            let mut sums = Scratch::take(CHUNK * x.tiles.of_group * self.tier.lanes());
            for group in 0..x.tiles.groups() {
                for chunk in chunks.clone() {
                    self.chunk(chunk, &x, group, &mut sums, output);
                }
            }
        });
        repair_without_scale(self, &self.terms.bias, operands, x.scales());
        Ok(())
    }
}

//! Which blocks a mask keeps, in the order in which they are multiplied.

use std::ops::Range;

use super::Shape;
use crate::Mask;

/// Rows whose sums are kept in memory while pieces of columns pass by: few enough for a near cache, and so many that a piece of the
/// activations is worth fetching.
pub(super) const CHUNK: usize = 64;

/// Multiplications per row of a piece at least: so few activations of a full tile stay in the first-level cache.
const PIECE: usize = 64;

/// Kept multiplications per run that are worth loading and storing sums for; a sparser matrix has larger pieces.
const WORTH_A_RUN: f64 = 16.0;

/// The blocks of a mask: for each chunk of rows, each piece of columns and each row of blocks a run of places, counted in blocks from
/// the first of the piece.
///
/// *Invariant*: `starts` has an entry for each run and one more, begins at zero, never falls and ends at the number of `places`; a
/// place lies inside of its piece and of the matrix.
pub(super) struct Runs {
    rows: usize,
    shape: Shape,
    /// Blocks of a piece, next to each other.
    pub(super) piece: usize,
    pub(super) pieces: usize,
    pub(super) starts: Vec<u32>,
    pub(super) places: Vec<u8>,
}

impl Runs {
    /// The blocks of `mask`, which `shape` was found in, where one multiplication takes `cols` columns.
    pub(super) fn of(mask: &Mask, shape: Shape, cols: usize) -> Self {
        let density = 1.0 - mask.sparsity();
        let multiplications = PIECE.max((WORTH_A_RUN / density.max(0.01)) as usize);
        let piece = (multiplications * cols / shape.cols()).clamp(1, usize::from(u8::MAX) + 1);
        let pieces = mask.cols().div_ceil(shape.cols()).div_ceil(piece);
        let mut runs = Self { rows: mask.rows(), shape, piece, pieces, starts: vec![0], places: Vec::new() };
        for chunk in 0..mask.rows().div_ceil(CHUNK) {
            for first in (0..pieces).map(|piece| piece * runs.piece) {
                for row in runs.chunk(chunk).step_by(shape.rows()) {
                    let is_kept = |place: &usize| {
                        let col = (first + place) * shape.cols();
                        col < mask.cols() && mask.keeps(row, col)
                    };
                    runs.places.extend((0..piece).filter(is_kept).map(|place| place as u8));
                    runs.starts.push(u32::try_from(runs.places.len()).expect("fewer blocks than a mask of so many bytes has"));
                }
            }
        }
        runs
    }

    /// Rows of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> Range<usize> {
        chunk * CHUNK..((chunk + 1) * CHUNK).min(self.rows)
    }

    /// Blocks below each other in a chunk.
    pub(super) fn height(&self, chunk: usize) -> usize {
        self.chunk(chunk).len().div_ceil(self.shape.rows())
    }

    /// The first run of a chunk.
    pub(super) fn first_run(&self, chunk: usize) -> usize {
        chunk * (CHUNK / self.shape.rows()) * self.pieces
    }

    /// Calls `visit(block, its first column)` for the blocks that hold weights of a row, left to right.
    pub(super) fn visit_row(&self, row: usize, mut visit: impl FnMut(usize, usize)) {
        let chunk = row / CHUNK;
        for piece in 0..self.pieces {
            let run = self.first_run(chunk) + piece * self.height(chunk) + row % CHUNK / self.shape.rows();
            for block in self.starts[run] as usize..self.starts[run + 1] as usize {
                visit(block, (piece * self.piece + usize::from(self.places[block])) * self.shape.cols());
            }
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.starts[..]) + self.places.len()
    }
}

//! The sums of a chunk of rows for a group of tokens.

use std::ops::Range;

use super::lanes::{Lanes, Multiplied, Work};
use super::{Shape, by_tiles};
use crate::element::RowTerms;

/// The runs of one chunk, piece by piece, and the activations of a group of tokens.
///
/// *Invariant*: `starts` has `pieces * height` runs and their end, which are ranges of `places` and, times the multiplications of a block,
/// of `weights`; `x` has `piece_len` activations for each piece but the last, and for every place those of `tiles` vectors for each
/// multiplication; `sums` has `tiles` vectors for each row of `height` blocks.
pub(super) struct Multiply<'a, T: Multiplied> {
    pub(super) shape: Shape,
    pub(super) tiles: usize,
    pub(super) height: usize,
    pub(super) pieces: usize,
    pub(super) piece_len: usize,
    pub(super) starts: &'a [u32],
    pub(super) places: &'a [u8],
    pub(super) weights: &'a [T::Weight],
    pub(super) x: &'a [T::Activation],
    pub(super) sums: &'a mut [T::Sum],
}

impl<T: Multiplied> Work<T> for Multiply<'_, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes<Of = T>>(self) {
        macro_rules! wide {
            ($tiles:literal) => {
                // SAFETY: the caller promises the features; there are so many tiles.
                unsafe { self.chunk::<L, 1, 4, $tiles>() }
            };
        }
        macro_rules! high {
            ($tiles:literal) => {
                // SAFETY: as above.
                unsafe { self.chunk::<L, 4, 1, $tiles>() }
            };
        }
        macro_rules! quad {
            ($tiles:literal) => {
                // SAFETY: as above.
                unsafe { self.chunk::<L, 1, 1, $tiles>() }
            };
        }
        match self.shape {
            Shape::Wide if T::COLS == Shape::Wide.cols() => by_tiles!(self.tiles, quad!),
            Shape::Wide => by_tiles!(self.tiles, wide!),
            Shape::High => by_tiles!(self.tiles, high!),
        }
    }
}

impl<T: Multiplied> Multiply<'_, T> {
    /// Blocks of `ROWS` rows that take `EACH` multiplications in each.
    ///
    /// # Safety
    /// CPU features of `L`; `TILES` is the number of tiles, and the shape is that of the constants.
    #[inline(always)]
    unsafe fn chunk<L: Lanes<Of = T>, const ROWS: usize, const EACH: usize, const TILES: usize>(self) {
        let vectors = TILES * L::COUNT;
        assert!(self.starts.len() == self.pieces * self.height + 1 && self.sums.len() >= self.height * ROWS * vectors);
        let end = self.starts[self.starts.len() - 1] as usize;
        assert!(self.places.len() >= end && self.weights.len() >= end * ROWS * EACH);
        for piece in 0..self.pieces {
            let x = self.x[piece * self.piece_len..].as_ptr();
            for high in 0..self.height {
                let run = piece * self.height + high;
                let blocks = self.starts[run] as usize..self.starts[run + 1] as usize;
                let mut sums = self.sums[high * ROWS * vectors..].as_mut_ptr();
                // SAFETY: the caller promises the features. The assertions and the invariant: places and weights for every block, activations for
                // every place, and sums for every row.
                unsafe {
                    let mut adding = [[L::zeros(); TILES]; ROWS];
                    if piece > 0 {
                        adding = std::array::from_fn(|row| {
                            std::array::from_fn(|tile| L::load_sums(sums.add((row * TILES + tile) * L::COUNT)))
                        });
                    }
                    for block in blocks {
                        let x = x.add(usize::from(*self.places.get_unchecked(block)) * EACH * vectors);
                        let weights = self.weights.as_ptr().add(block * EACH * ROWS);
                        for each in 0..EACH {
                            let x: [L::Activations; TILES] =
                                std::array::from_fn(|tile| L::load(x.add((each * TILES + tile) * L::COUNT)));
                            for (row, sums) in adding.iter_mut().enumerate() {
                                let weight = L::splat(*weights.add(each * ROWS + row));
                                for (sums, x) in sums.iter_mut().zip(x) {
                                    *sums = L::add_products(*sums, x, weight);
                                }
                            }
                        }
                    }
                    for vector in adding.into_iter().flatten() {
                        L::store_sums(vector, sums);
                        sums = sums.add(L::COUNT);
                    }
                }
            }
        }
    }
}

/// Makes results, `[row][lane]`, of the sums of some rows for one tile; those of the next row are `tiles` vectors on.
pub(super) struct Finish<'a, T: Multiplied> {
    pub(super) sums: &'a [T::Sum],
    pub(super) tiles: usize,
    pub(super) rows: Range<usize>,
    pub(super) terms: &'a RowTerms,
    /// Those of the tokens.
    pub(super) scales: &'a [f32],
    pub(super) results: &'a mut [f32],
}

impl<T: Multiplied> Work<T> for Finish<'_, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes<Of = T>>(self) {
        let count = self.rows.len();
        assert!(self.sums.len() >= (count.max(1) - 1) * self.tiles * L::COUNT + L::COUNT);
        assert!(self.scales.len() == L::COUNT && self.results.len() >= count * L::COUNT);
        for (at, row) in self.rows.enumerate() {
            // SAFETY: the caller promises the features. The assertions: a vector of sums and of results for each row, and one of scales.
            unsafe {
                let sums = L::load_sums(self.sums.as_ptr().add(at * self.tiles * L::COUNT));
                L::finish(sums, self.terms.row(row), self.scales.as_ptr(), self.results.as_mut_ptr().add(at * L::COUNT));
            }
        }
    }
}

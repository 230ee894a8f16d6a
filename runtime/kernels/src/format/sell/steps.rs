//! Where `sell` keeps each weight: steps of sixteen rows, a few weights each, all of columns of one window.

use std::ops::Range;

use crate::{Mask, Pattern};

/// Rows that are computed together, one in each 32-bit lane.
pub(super) const LANES: usize = 16;

/// Bytes of activations that one permutation reaches: a vector.
const WINDOW_BYTES: usize = 64;

/// Windows begin at multiples of so many bytes: half a vector. At any byte they would take in a little more, and most would cross a
/// cache line; at whole vectors they take in less.
const ALIGNMENT_BYTES: usize = 32;

/// The same for masks that keep N of M: of a whole vector each row keeps as many as every other, so all slots of all steps are used.
const ALIGNMENT_BYTES_OF_GROUPS: usize = WINDOW_BYTES;

/// Bytes of activations of one token that lie together. A piece and a window more of each token of a tile, from a fixed distance
/// of an odd number of cache lines, are few enough for the first-level cache, and addressed without a register for each token.
pub(super) const PIECE_BYTES: usize = 1024;

/// Bytes from the piece of one token to that of the next.
pub(super) const PITCH_BYTES: usize = PIECE_BYTES + WINDOW_BYTES;

/// The steps of a mask, for activations of a fixed size.
///
/// *Invariant*: `starts` has one entry more than slices times pieces, begins at zero, never falls, and ends at the number of windows;
/// a window begins inside of its piece.
pub(super) struct Steps {
    /// Bytes of one activation.
    size: usize,
    /// Pieces of each token.
    pub(super) pieces: usize,
    /// The first step of each piece of each slice.
    starts: Vec<usize>,
    /// The byte of its piece at which the window of each step begins.
    windows: Vec<u16>,
}

/// A place of [`Steps`].
pub(super) struct Slot {
    /// Place among all slots.
    pub(super) index: usize,
    /// Column of the weight that is there.
    pub(super) col: usize,
    /// Place of the column in the window of the step.
    pub(super) place: u8,
}

impl Steps {
    /// The steps of `mask` for activations of `size` bytes. Windows follow the row that is furthest behind, and each row takes as
    /// many weights as a step has slots for it.
    pub(super) fn of(mask: &Mask, size: usize) -> Self {
        let is_in_groups = matches!(Pattern::of(mask), Pattern::Group { .. });
        let alignment = if is_in_groups { ALIGNMENT_BYTES_OF_GROUPS } else { ALIGNMENT_BYTES };
        let mut steps = Self { size, pieces: (mask.cols() * size).div_ceil(PIECE_BYTES), starts: vec![0], windows: Vec::new() };
        for first in (0..mask.rows()).step_by(LANES) {
            let rows = first..(first + LANES).min(mask.rows());
            let mut pending: Vec<_> = rows.map(|row| mask.kept_cols(row).peekable()).collect();
            for piece in 0..steps.pieces {
                let cols = steps.cols(piece);
                while let Some(col) =
                    pending.iter_mut().filter_map(|row| row.peek().copied()).min().filter(|col| cols.contains(col))
                {
                    let window = (col - cols.start) * size / alignment * alignment;
                    steps.windows.push(window as u16);
                    let reach = steps.reach(&cols, window);
                    for row in &mut pending {
                        let taken = std::iter::from_fn(|| row.next_if(|col| reach.contains(col)));
                        taken.take(steps.slots()).count();
                    }
                }
                steps.starts.push(steps.windows.len());
            }
        }
        steps
    }

    /// Weights of one row in one step: as many as fill a 32-bit lane.
    pub(super) fn slots(&self) -> usize {
        size_of::<u32>() / self.size
    }

    /// Slots of all steps.
    pub(super) fn len(&self) -> usize {
        self.windows.len() * LANES * self.slots()
    }

    /// Columns of a piece; the last one may have fewer.
    pub(super) fn cols(&self, piece: usize) -> Range<usize> {
        let count = PIECE_BYTES / self.size;
        piece * count..(piece + 1) * count
    }

    /// Columns of a piece from `window` on that the window holds.
    fn reach(&self, cols: &Range<usize>, window: usize) -> Range<usize> {
        let first = cols.start + window / self.size;
        first..(first + WINDOW_BYTES / self.size).min(cols.end)
    }

    /// The first step of each piece of a slice, and the end of the last.
    pub(super) fn of_slice(&self, slice: usize) -> &[usize] {
        &self.starts[slice * self.pieces..=(slice + 1) * self.pieces]
    }

    /// Where windows begin, by step.
    pub(super) fn windows(&self) -> &[u16] {
        &self.windows
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.starts[..]) + size_of_val(&self.windows[..])
    }

    /// Calls `visit` for each kept weight of a row of the mask that these steps were made for, left to right.
    pub(super) fn visit_row(&self, mask: &Mask, row: usize, mut visit: impl FnMut(Slot)) {
        let (slots, mut pending) = (self.slots(), mask.kept_cols(row).peekable());
        for (piece, range) in self.of_slice(row / LANES).windows(2).enumerate() {
            let cols = self.cols(piece);
            for step in range[0]..range[1] {
                let reach = self.reach(&cols, self.windows[step].into());
                for slot in 0..slots {
                    let Some(col) = pending.next_if(|col| reach.contains(col)) else { break };
                    let index = (step * LANES + row % LANES) * slots + slot;
                    visit(Slot { index, col, place: (col - reach.start) as u8 });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_matrix;

    #[test]
    fn every_weight_has_a_slot_of_its_own_inside_of_its_window() {
        for (rows, cols, density) in [(1, 1, 1.0), (40, 70, 0.3), (17, 3000, 0.1), (16, 1024, 1.0), (33, 1025, 0.02), (5, 9, 0.0)]
        {
            let matrix = random_matrix(rows, cols, density, 7);
            for size in [1, 4] {
                let steps = Steps::of(matrix.mask(), size);
                assert_eq!(steps.starts.len(), rows.div_ceil(LANES) * steps.pieces + 1);
                assert!(steps.windows.iter().all(|window| usize::from(*window) < PIECE_BYTES));
                let mut taken = vec![false; steps.len()];
                for row in 0..rows {
                    let mut cols = Vec::new();
                    steps.visit_row(matrix.mask(), row, |slot| {
                        assert!(!std::mem::replace(&mut taken[slot.index], true), "a slot is taken twice");
                        let step = slot.index / steps.slots() / LANES;
                        assert_eq!(slot.index / steps.slots() % LANES, row % LANES);
                        let piece = steps.of_slice(row / LANES).windows(2).position(|range| (range[0]..range[1]).contains(&step));
                        let byte = usize::from(steps.windows[step]) + usize::from(slot.place) * size;
                        assert_eq!(slot.col, steps.cols(piece.unwrap()).start + byte / size);
                        assert!(usize::from(slot.place) * size < WINDOW_BYTES);
                        cols.push(slot.col);
                    });
                    assert!(cols.into_iter().eq(matrix.mask().kept_cols(row)));
                }
            }
        }
    }

    #[test]
    fn most_slots_are_used() {
        for (density, share) in [(0.5, 0.9), (0.25, 0.8), (0.1, 0.6)] {
            let matrix = random_matrix(160, 768, density, 3);
            let fill = matrix.mask().kept() as f64 / Steps::of(matrix.mask(), 1).len() as f64;
            assert!(fill > share, "{density}: {fill}");
        }
        for pattern in ["2:4", "4:8", "16:32", "16:64"] {
            let mask = pattern.parse::<Pattern>().unwrap().mask(160, 768, 0.0, 3);
            assert_eq!(mask.kept(), Steps::of(&mask, 1).len(), "{pattern}: no slot is empty");
        }
    }
}

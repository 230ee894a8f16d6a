//! Which columns of a strip are kept by the same rows, and where their weights lie.

use std::ops::Range;

use super::plan::Plan;
use crate::Mask;

/// Rows of a strip. Six rows of four vectors of sums, four vectors of activations and what these are made from fill 32 registers.
pub(super) const ROWS: usize = 6;

/// Sets of these rows: a bit for each.
pub(super) const SETS: usize = 1 << ROWS;

/// The set of all rows.
pub(super) const ALL: usize = SETS - 1;

/// Columns that are read ahead: so many follow the last one of all strips.
pub(super) const AHEAD: usize = 8;

/// Strips from which a plan is made.
const SAMPLES: usize = 12;

/// The rows of a set.
pub(super) fn rows_of(set: usize) -> impl Iterator<Item = usize> {
    (0..ROWS).filter(move |row| set >> row & 1 == 1)
}

/// The columns of every strip, by row set. A strip is six rows by one piece of the columns; entries of a row set follow each other, set
/// by set, and an entry has `fold` columns and, for each row of its set, as many values.
///
/// *Invariant*: strip `i` has the columns and values from `starts[i]` to `starts[i + 1]`, as many as `counts[i]` says; each column is
/// below the length of its piece, or equal to it where an entry has a place too many; [`AHEAD`] zeros follow the last.
pub(super) struct Sets {
    cols: usize,
    /// Pieces of the columns, of nearly equal length.
    pub(super) pieces: usize,
    fold: usize,
    counts: Vec<[u16; SETS]>,
    columns: Vec<u16>,
    starts: Vec<Start>,
}

/// Where a strip begins.
#[derive(Clone, Copy)]
struct Start {
    column: usize,
    value: usize,
}

/// A place of a value.
pub(super) struct Slot {
    /// Place among all values.
    pub(super) index: usize,
    /// Row of the strip.
    pub(super) row: usize,
    /// Column of the matrix.
    pub(super) col: usize,
}

impl Sets {
    /// The row sets of `mask`, in pieces of at most `most_cols` columns. Entries of one column are as many as a strip has; those of
    /// more follow a [`Plan`].
    pub(super) fn of(mask: &Mask, fold: usize, most_cols: usize) -> Self {
        let pieces = mask.cols().div_ceil(most_cols).max(1);
        let start = Start { column: 0, value: 0 };
        let mut sets = Self { cols: mask.cols(), pieces, fold, counts: Vec::new(), columns: Vec::new(), starts: vec![start] };
        let strips = mask.rows().div_ceil(ROWS) * pieces;
        let samples = (0..strips).step_by(strips.div_ceil(SAMPLES).max(1));
        let samples: Vec<_> = samples.map(|strip| sets.columns_by_set(mask, strip).map(|columns| columns.len())).collect();
        let plan = (fold > 1).then(|| Plan::of(&samples, fold));
        for strip in 0..strips {
            let mut columns = sets.columns_by_set(mask, strip);
            let mut entries = std::array::from_fn(|set| columns[set].len());
            if let Some(plan) = &plan {
                let mut own = std::mem::replace(&mut columns, [const { Vec::new() }; SETS]);
                entries = plan.deal(&entries, |set, to, count| {
                    let taken = own[set].len() - count..;
                    for col in own[set].drain(taken) {
                        to.into_iter().for_each(|to| columns[to].push(col));
                    }
                });
            }
            sets.push(columns, entries);
        }
        sets.columns.extend([0; AHEAD]);
        sets
    }

    fn push(&mut self, mut columns: [Vec<u16>; SETS], entries: [usize; SETS]) {
        let (mut start, piece) = (self.starts[self.counts.len()], self.cols_of(self.counts.len()).len());
        for set in 1..SETS {
            columns[set].resize(entries[set] * self.fold, piece as u16);
            self.columns.append(&mut columns[set]);
            start.value += entries[set] * self.fold * rows_of(set).count();
        }
        start.column = self.columns.len();
        self.starts.push(start);
        self.counts.push(std::array::from_fn(|set| if set == 0 { 0 } else { entries[set] as u16 }));
    }

    /// The columns of the piece of a strip.
    pub(super) fn cols_of(&self, strip: usize) -> Range<usize> {
        let piece = strip % self.pieces;
        piece * self.cols / self.pieces..(piece + 1) * self.cols / self.pieces
    }

    /// The columns of a strip that each row set keeps, counted from the start of the piece; those that no row keeps are left out.
    fn columns_by_set(&self, mask: &Mask, strip: usize) -> [Vec<u16>; SETS] {
        let (cols, first) = (self.cols_of(strip), strip / self.pieces * ROWS);
        let mut set_of = vec![0; cols.len()];
        for row in first..(first + ROWS).min(mask.rows()) {
            for col in mask.kept_cols(row).filter(|col| cols.contains(col)) {
                set_of[col - cols.start] |= 1 << (row - first);
            }
        }
        let mut columns = [const { Vec::new() }; SETS];
        for (col, set) in set_of.into_iter().enumerate().filter(|(_, set)| *set > 0) {
            columns[set].push(col as u16);
        }
        columns
    }

    /// Entries of each row set of a strip.
    pub(super) fn counts(&self, strip: usize) -> &[u16; SETS] {
        &self.counts[strip]
    }

    /// Columns of the entries of a strip, and what is read ahead.
    pub(super) fn columns(&self, strip: usize) -> &[u16] {
        &self.columns[self.starts[strip].column..self.starts[strip + 1].column + AHEAD]
    }

    /// Which values are those of a strip.
    pub(super) fn values(&self, strip: usize) -> Range<usize> {
        self.starts[strip].value..self.starts[strip + 1].value
    }

    /// Values of all strips.
    pub(super) fn len(&self) -> usize {
        self.starts[self.counts.len()].value
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.counts[..]) + size_of_val(&self.columns[..]) + size_of_val(&self.starts[..])
    }

    /// Calls `visit` for the place of each weight that `mask`, of which these are the sets, keeps in a strip.
    pub(super) fn visit(&self, mask: &Mask, strip: usize, mut visit: impl FnMut(Slot)) {
        let (cols, first_row) = (self.cols_of(strip), strip / self.pieces * ROWS);
        let (mut columns, mut index) = (self.columns(strip).chunks_exact(self.fold), self.starts[strip].value);
        for (set, count) in self.counts[strip].iter().enumerate() {
            for entry in columns.by_ref().take((*count).into()) {
                for row in rows_of(set).map(|row| first_row + row) {
                    for col in entry.iter().map(|col| usize::from(*col)) {
                        if col < cols.len() && row < mask.rows() && mask.keeps(row, cols.start + col) {
                            visit(Slot { index, row, col: cols.start + col });
                        }
                        index += 1;
                    }
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
    fn every_weight_has_a_place_of_its_own() {
        for (rows, cols, density) in [(1, 1, 1.0), (40, 70, 0.3), (17, 3000, 0.1), (6, 400, 1.0), (33, 1025, 0.02), (5, 9, 0.0)] {
            let matrix = random_matrix(rows, cols, density, 7);
            let mask = matrix.mask();
            for (fold, most_cols) in [(1, 5000), (4, 5000), (4, 300)] {
                let sets = Sets::of(mask, fold, most_cols);
                let mut places = vec![false; sets.len()];
                let mut found = vec![0; rows * cols];
                for strip in 0..rows.div_ceil(ROWS) * sets.pieces {
                    let (columns, piece) = (sets.columns(strip), sets.cols_of(strip).len());
                    let entries: usize = sets.counts(strip).iter().map(|count| usize::from(*count)).sum();
                    assert_eq!(columns.len(), entries * fold + AHEAD);
                    assert!(piece <= most_cols && columns[..entries * fold].iter().all(|col| usize::from(*col) <= piece));
                    sets.visit(mask, strip, |slot| {
                        assert!(sets.values(strip).contains(&slot.index));
                        assert!(!std::mem::replace(&mut places[slot.index], true), "a place is taken twice");
                        found[slot.row * cols + slot.col] += 1;
                    });
                }
                for (at, times) in found.into_iter().enumerate() {
                    assert_eq!(times, i32::from(mask.keeps(at / cols, at % cols)), "{fold}: {at}");
                }
                assert!(fold > 1 || sets.len() == mask.kept(), "entries of one column have no place too many");
            }
        }
    }
}

//! Which columns of a strip, or groups of columns, are kept by the same rows, and where their weights lie.

use std::ops::Range;

use super::plan::Plan;
use crate::Mask;

/// Rows of a strip. Six rows of four vectors of sums, four vectors of activations and what these are made from fill 32 registers.
pub(super) const ROWS: usize = 6;

/// Sets of these rows: a bit for each.
pub(super) const SETS: usize = 1 << ROWS;

/// The set of all rows.
pub(super) const ALL: usize = SETS - 1;

/// Places that are read ahead: so many follow the last one of all strips.
pub(super) const AHEAD: usize = 8;

/// Strips from which a plan is made.
const SAMPLES: usize = 12;

/// The rows of a set.
pub(super) fn rows_of(set: usize) -> impl Iterator<Item = usize> {
    (0..ROWS).filter(move |row| set >> row & 1 == 1)
}

/// What is multiplied together.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Places that are looked up.
    pub(super) fold: usize,
    /// Columns of a place, which follow each other and begin at a multiple of as many.
    pub(super) span: usize,
}

impl Entry {
    /// Places after those of a piece that entries may point to: where one has several, it may have too many.
    pub(super) const fn spare(self) -> usize {
        (self.fold > 1) as usize
    }
}

/// The places of every strip, by row set. A strip is six rows by one piece of the places; entries of a row set follow each other, set
/// by set, and an entry has `fold` places and, for each row of its set, as many values as these have columns.
///
/// *Invariant*: strip `i` has the places and values from `starts[i]` to `starts[i + 1]`, as many as `counts[i]` says; each place is
/// below the length of its piece, or equal to it where an entry has a place too many; [`AHEAD`] zeros follow the last.
pub(super) struct Sets {
    cols: usize,
    /// Pieces of the places, of nearly equal length.
    pub(super) pieces: usize,
    entry: Entry,
    counts: Vec<[u16; SETS]>,
    places: Vec<u16>,
    starts: Vec<Start>,
}

/// Where a strip begins.
#[derive(Clone, Copy)]
struct Start {
    place: usize,
    value: usize,
}

/// Where a value belongs.
pub(super) struct Slot {
    /// Its number among all values.
    pub(super) index: usize,
    /// Row of the matrix.
    pub(super) row: usize,
    /// Column of the matrix.
    pub(super) col: usize,
}

impl Sets {
    /// The row sets of `mask`, in pieces of at most `most_places` places. Entries of one place are as many as a strip has; those of
    /// more follow a [`Plan`].
    pub(super) fn of(mask: &Mask, entry: Entry, most_places: usize) -> Self {
        let pieces = mask.cols().div_ceil(entry.span).div_ceil(most_places).max(1);
        let start = Start { place: 0, value: 0 };
        let mut sets = Self { cols: mask.cols(), pieces, entry, counts: Vec::new(), places: Vec::new(), starts: vec![start] };
        let strips = mask.rows().div_ceil(ROWS) * pieces;
        let plan = (entry.fold > 1).then(|| {
            let samples = (0..strips).step_by(strips.div_ceil(SAMPLES).max(1));
            let samples: Vec<_> = samples.map(|strip| sets.places_by_set(mask, strip).map(|places| places.len())).collect();
            Plan::of(&samples, entry.fold)
        });
        for strip in 0..strips {
            let mut places = sets.places_by_set(mask, strip);
            let mut entries = std::array::from_fn(|set| places[set].len());
            if let Some(plan) = &plan {
                let mut own = std::mem::replace(&mut places, [const { Vec::new() }; SETS]);
                entries = plan.deal(&entries, |set, to, count| {
                    let taken = own[set].len() - count..;
                    for place in own[set].drain(taken) {
                        to.into_iter().for_each(|to| places[to].push(place));
                    }
                });
            }
            sets.push(places, entries);
        }
        sets.places.extend([0; AHEAD]);
        sets
    }

    fn push(&mut self, mut places: [Vec<u16>; SETS], entries: [usize; SETS]) {
        let (mut start, piece) = (self.starts[self.counts.len()], self.places_of(self.counts.len()).len());
        for set in 1..SETS {
            places[set].resize(entries[set] * self.entry.fold, piece as u16);
            self.places.append(&mut places[set]);
            start.value += entries[set] * self.entry.fold * self.entry.span * rows_of(set).count();
        }
        start.place = self.places.len();
        self.starts.push(start);
        self.counts.push(std::array::from_fn(|set| if set == 0 { 0 } else { entries[set] as u16 }));
    }

    /// Places of all pieces.
    pub(super) fn places(&self) -> usize {
        self.cols.div_ceil(self.entry.span)
    }

    /// The places of the piece of a strip.
    pub(super) fn places_of(&self, strip: usize) -> Range<usize> {
        let piece = strip % self.pieces;
        piece * self.places() / self.pieces..(piece + 1) * self.places() / self.pieces
    }

    /// The places of a strip that each row set keeps, counted from the start of the piece; those that no row keeps are left out.
    fn places_by_set(&self, mask: &Mask, strip: usize) -> [Vec<u16>; SETS] {
        let (piece, first) = (self.places_of(strip), strip / self.pieces * ROWS);
        let mut set_of = vec![0; piece.len()];
        for row in first..(first + ROWS).min(mask.rows()) {
            for place in mask.kept_cols(row).map(|col| col / self.entry.span).filter(|place| piece.contains(place)) {
                set_of[place - piece.start] |= 1 << (row - first);
            }
        }
        let mut places = [const { Vec::new() }; SETS];
        for (place, set) in set_of.into_iter().enumerate().filter(|(_, set)| *set > 0) {
            places[set].push(place as u16);
        }
        places
    }

    /// Entries of each row set of a strip.
    pub(super) fn counts(&self, strip: usize) -> &[u16; SETS] {
        &self.counts[strip]
    }

    /// Places of the entries of a strip, and what is read ahead.
    pub(super) fn places_and_ahead(&self, strip: usize) -> &[u16] {
        &self.places[self.starts[strip].place..self.starts[strip + 1].place + AHEAD]
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
        size_of_val(&self.counts[..]) + size_of_val(&self.places[..]) + size_of_val(&self.starts[..])
    }

    /// Calls `visit` for the place of each weight that `mask`, of which these are the sets, keeps in a strip.
    pub(super) fn visit(&self, mask: &Mask, strip: usize, mut visit: impl FnMut(Slot)) {
        let (piece, first_row, span) = (self.places_of(strip), strip / self.pieces * ROWS, self.entry.span);
        let (mut places, mut index) = (self.places_and_ahead(strip).chunks_exact(self.entry.fold), self.starts[strip].value);
        for (set, count) in self.counts[strip].iter().enumerate() {
            for entry in places.by_ref().take((*count).into()) {
                for row in rows_of(set).map(|row| first_row + row) {
                    for place in entry.iter().map(|place| usize::from(*place)) {
                        for col in (0..span).map(|at| (piece.start + place) * span + at) {
                            if place < piece.len() && col < mask.cols() && row < mask.rows() && mask.keeps(row, col) {
                                visit(Slot { index, row, col });
                            }
                            index += 1;
                        }
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
            for (fold, span, most_places) in [(1, 1, 5000), (4, 1, 5000), (4, 1, 300), (1, 4, 5000), (1, 4, 100)] {
                let sets = Sets::of(mask, Entry { fold, span }, most_places);
                let mut taken = vec![false; sets.len()];
                let mut found = vec![0; rows * cols];
                for strip in 0..rows.div_ceil(ROWS) * sets.pieces {
                    let (places, piece) = (sets.places_and_ahead(strip), sets.places_of(strip).len());
                    let entries: usize = sets.counts(strip).iter().map(|count| usize::from(*count)).sum();
                    assert_eq!(places.len(), entries * fold + AHEAD);
                    assert!(piece <= most_places && places[..entries * fold].iter().all(|place| usize::from(*place) <= piece));
                    sets.visit(mask, strip, |slot| {
                        assert!(sets.values(strip).contains(&slot.index));
                        assert!(!std::mem::replace(&mut taken[slot.index], true), "a place is taken twice");
                        found[slot.row * cols + slot.col] += 1;
                    });
                }
                for (at, times) in found.into_iter().enumerate() {
                    assert_eq!(times, i32::from(mask.keeps(at / cols, at % cols)), "{fold} by {span}: {at}");
                }
                assert!(fold > 1 || span > 1 || sets.len() == mask.kept(), "entries of one column have no place too many");
            }
        }
    }
}

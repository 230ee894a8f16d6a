//! What one generated function computes: a few rows by a range of columns of the mask.

use std::ops::Range;

use crate::{Cpu, Mask};

/// Columns of one function at most: so many columns of activations stay in the second-level cache beside the code.
const COLS_PER_FUNCTION: usize = 768;

/// The part of a mask that becomes one function.
///
/// *Invariant*: both ranges lie inside the mask.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Rows; each is an accumulator in a register.
    pub(crate) rows: Range<usize>,
    /// Columns.
    pub(crate) cols: Range<usize>,
}

impl Block {
    /// Whether the function starts from the bias, at the head of its values, or from the sums the block to its left has left.
    pub(crate) fn starts_from_bias(&self) -> bool {
        self.cols.start == 0
    }

    /// Calls `visit(row, col)`, both inside of the block, for each kept weight in the order in which the function reads its values:
    /// column by column, so that each activation is loaded once.
    pub(crate) fn visit_kept(&self, mask: &Mask, mut visit: impl FnMut(usize, usize)) {
        for (index, col) in self.cols.clone().enumerate() {
            for (row_index, row) in self.rows.clone().enumerate() {
                if mask.keeps(row, col) {
                    visit(row_index, index);
                }
            }
        }
    }

    /// Values the function reads: its bias, if it starts from one, and its kept weights.
    pub(crate) fn value_count(&self, mask: &Mask) -> usize {
        let mut count = if self.starts_from_bias() { self.rows.len() } else { 0 };
        self.visit_kept(mask, |_, _| count += 1);
        count
    }
}

/// What of a core decides how large functions should be, by its maker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Core {
    /// Kept weights of one function, about: at some 13 bytes each, so much code is read again for every tile without being decoded again.
    /// The time that the register allocator takes grows faster than functions do.
    kept_per_function: f64,
    /// Where fewer weights are kept, loads of activations bind, and as many rows as have a register share each. Elsewhere spilling costs
    /// more.
    density_of_most_rows: f64,
}

impl Core {
    /// 4,096 decoded operations, eight to a line of 64 bytes of code, of which long instructions fill four or five (Golden Cove).
    const INTEL: Self = Self { kept_per_function: 1000.0, density_of_most_rows: 0.4 };

    /// 6,912 decoded operations and 32 KiB of code in the first level (Zen 4).
    const OTHER: Self = Self { kept_per_function: 2500.0, density_of_most_rows: 0.15 };

    /// This machine's.
    pub(crate) fn this() -> &'static Self {
        if Cpu::this().vendor == "GenuineIntel" { &Self::INTEL } else { &Self::OTHER }
    }
}

/// How a matrix is cut into blocks: `height` rows, and `pieces` of nearly equal width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Rows per block.
    pub(crate) height: usize,
    /// Blocks side by side.
    pub(crate) pieces: usize,
}

impl Cut {
    /// The cut for a mask and a core, when the code may keep up to `accumulators` sums in registers.
    pub(crate) fn of(mask: &Mask, accumulators: usize, core: &Core) -> Self {
        let density = 1.0 - mask.sparsity();
        let height = if density < core.density_of_most_rows { accumulators } else { accumulators.min(12) };
        let width = (core.kept_per_function / (height as f64 * density.max(1e-9))).min(COLS_PER_FUNCTION as f64);
        Self { height, pieces: (mask.cols() as f64 / width.max(1.0)).ceil().max(1.0) as usize }
    }

    /// The blocks of the `rows`, left to right.
    pub(crate) fn blocks(self, rows: Range<usize>, cols: usize) -> impl Iterator<Item = Block> {
        (0..self.pieces)
            .map(move |piece| Block { rows: rows.clone(), cols: piece * cols / self.pieces..(piece + 1) * cols / self.pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_covers_every_column_in_order() {
        for (cols, kept) in [(1, 1), (768, 4), (3072, 4), (3072, 1), (5000, 10)] {
            let mask = Mask::from_fn(12, cols, |row, col| (row + col) % kept == 0);
            let cut = Cut::of(&mask, 16, &Core::OTHER);
            let blocks: Vec<_> = cut.blocks(0..12, cols).collect();
            assert!(blocks[0].cols.start == 0 && blocks[blocks.len() - 1].cols.end == cols);
            assert!(blocks.windows(2).all(|pair| pair[0].cols.end == pair[1].cols.start));
            let values: usize = blocks.iter().map(|block| block.value_count(&mask)).sum();
            assert_eq!(values, mask.kept() + 12);
            assert!(blocks.iter().all(|block| block.cols.len() <= COLS_PER_FUNCTION));
        }
        assert_eq!(Cut::of(&Mask::from_fn(0, 0, |_, _| true), 16, &Core::OTHER), Cut { height: 12, pieces: 1 });
    }
}

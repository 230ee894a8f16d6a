//! How the work of a product is shared by the threads of the current pool.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::Result;
use crate::operands::{Operands, OutputRows};

/// Multiply-adds, or values to be moved, below which waking another thread costs more than it brings.
pub(crate) const WORTH_A_THREAD: usize = 1 << 17;

impl Operands<'_> {
    /// Calls `work` for groups of up to `group` tokens, which the threads of the current pool share where that is worth it. Halves are
    /// handed on until one group is left, which allocates nothing.
    pub(crate) fn in_groups<W>(&mut self, group: usize, work: &W) -> Result<()>
    where
        W: Fn(&mut Operands) -> Result<()> + Sync,
    {
        let groups = self.tokens().div_ceil(group);
        if groups <= 1 {
            return work(self);
        }
        // Counting what a mask keeps takes too long: an eighth, at a guess.
        let cost = self.tokens().saturating_mul(self.rows()).saturating_mul(self.cols()) / 8;
        let is_shared = rayon::current_num_threads() > 1 && cost >= WORTH_A_THREAD;
        let (mut before, mut after) = self.split_at(groups / 2 * group);
        if is_shared {
            let done = rayon::join(|| before.in_groups(group, work), || after.in_groups(group, work));
            done.0.and(done.1)
        } else {
            before.in_groups(group, work)?;
            after.in_groups(group, work)
        }
    }
}

/// Calls `work(group, its numbers, its scales)` for groups of tokens, on the threads of the current pool where `values` activations
/// in all are worth more than one.
pub(crate) fn for_each_group<T: Send>(
    values: usize,
    group_len: usize,
    numbers: &mut [T],
    group_tokens: usize,
    scales: &mut [f32],
    work: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
) {
    let group_len = group_len.max(1);
    let work = |(group, (numbers, scales)): (usize, (&mut [T], &mut [f32]))| work(group, numbers, scales);
    if rayon::current_num_threads() > 1 && values >= WORTH_A_THREAD {
        numbers.par_chunks_exact_mut(group_len).zip(scales.par_chunks_mut(group_tokens)).enumerate().for_each(work);
    } else {
        numbers.chunks_exact_mut(group_len).zip(scales.chunks_mut(group_tokens)).enumerate().for_each(work);
    }
}

/// Where a matrix is cut into blocks of whole rows, and what each block costs.
///
/// *Invariant*: both lists have one entry more than there are blocks, start at zero, and never fall.
pub(crate) struct RowBlocks {
    first_rows: Vec<usize>,
    costs_before: Vec<usize>,
}

impl RowBlocks {
    /// Blocks of `height` rows (the last may be lower), `cost(rows)` each.
    pub(crate) fn of_height(rows: usize, height: usize, cost: impl Fn(Range<usize>) -> usize) -> Self {
        let (mut first_rows, mut costs_before) = (vec![0], vec![0]);
        let mut total = 0;
        for start in (0..rows).step_by(height) {
            let end = (start + height).min(rows);
            total += cost(start..end);
            first_rows.push(end);
            costs_before.push(total);
        }
        Self { first_rows, costs_before }
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.first_rows.len() - 1
    }

    /// Rows of one block.
    pub(crate) fn rows(&self, block: usize) -> Range<usize> {
        self.first_rows[block]..self.first_rows[block + 1]
    }

    /// Calls `work(blocks, their part of y)` for all blocks, on as many threads of the current pool as the cost is worth.
    pub(crate) fn run(&self, operands: &mut Operands, work: impl Fn(Range<usize>, &mut OutputRows) + Sync) {
        let cost = self.costs_before[self.len()].saturating_mul(operands.tokens());
        let threads = rayon::current_num_threads().min(cost / WORTH_A_THREAD).max(1);
        self.share(0..threads, threads, operands.output(), &work);
    }

    /// [`RowBlocks::run`] for some of `threads` equal parts, whose results are `output`; halves are handed on until one is left, which
    /// allocates nothing.
    fn share<W: Fn(Range<usize>, &mut OutputRows) + Sync>(
        &self,
        parts: Range<usize>,
        threads: usize,
        mut output: OutputRows,
        work: &W,
    ) {
        if parts.len() == 1 {
            return work(self.first_block(parts.start, threads)..self.first_block(parts.end, threads), &mut output);
        }
        let middle = parts.start + parts.len() / 2;
        let (before, after) = output.split_at(self.first_rows[self.first_block(middle, threads)]);
        rayon::join(
            || self.share(parts.start..middle, threads, before, work),
            || self.share(middle..parts.end, threads, after, work),
        );
    }

    /// The first block of one of `threads` parts of nearly equal cost; after the last, the number of blocks.
    fn first_block(&self, part: usize, threads: usize) -> usize {
        if part == threads {
            return self.len();
        }
        let goal = self.costs_before[self.len()].div_ceil(threads) * part;
        self.costs_before.partition_point(|&cost| cost < goal).min(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_result_once() {
        let (tokens, rows, cols) = (3, 1001, 700);
        let x = vec![0.0; tokens * cols];
        let mut y = vec![0.0; tokens * rows];
        let blocks = RowBlocks::of_height(rows, 12, |rows| rows.len() * cols);
        assert_eq!(blocks.len(), 84);
        let mut operands = Operands::new(&x, &mut y, tokens, rows, cols).unwrap();
        blocks.run(&mut operands, |range, output| {
            for block in range {
                for token in 0..tokens {
                    output.token_mut(token, blocks.rows(block)).iter_mut().for_each(|value| *value += 1.0);
                }
            }
        });
        assert!(y.iter().all(|value| *value == 1.0));
    }
}

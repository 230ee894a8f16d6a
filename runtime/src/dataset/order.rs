//! The order in which training sees the rows: shuffled anew every epoch, by seed alone, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Batches of row numbers by training step. It has no state: a resumed run asks for the step it stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    rows: usize,
    batch: usize,
    seed: u64,
}

impl Order {
    /// An order of `rows` rows in batches of `batch` (at least 1).
    pub fn new(rows: usize, batch: usize, seed: u64) -> Self {
        Self { rows, batch: batch.max(1), seed }
    }

    /// Steps until every row was seen once; the last batch of an epoch may be smaller.
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.batch) as u64
    }

    /// The rows of step `step`, counted from 0; none if there are no rows.
    pub fn step(&self, step: u64) -> Vec<usize> {
        let Some(within) = step.checked_rem(self.steps_per_epoch()) else { return Vec::new() };
        let first = within as usize * self.batch;
        let epoch = self.epoch(step / self.steps_per_epoch());
        epoch[first..self.rows.min(first + self.batch)].to_vec()
    }

    /// All rows in the order of epoch `epoch`, counted from 0 (Fisher and Yates; ChaCha8 keyed by the seed, one stream per epoch).
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch);
        let mut order: Vec<usize> = (0..self.rows).collect();
        for last in (1..self.rows).rev() {
            let chosen = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
            order.swap(last, chosen as usize);
        }
        order
    }
}

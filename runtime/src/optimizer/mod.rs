//! The shelf of optimizers: how weights follow their gradients.
//!
//! An optimizer keeps nothing itself. Its moments are vectors that the training loop holds, saves and hands back, so that a resumed
//! run goes on with the same bits.

mod adamw;

use std::fmt::Debug;

pub use adamw::AdamW;

use crate::schedule::Schedule;
use crate::shelf::Shelf;
use crate::{row, shelved};

/// An optimizer: one file of this folder, one row of [`OPTIMIZERS`].
pub trait Optimizer: Debug + Send + Sync {
    /// The learning rate while the stage runs.
    fn rate(&self) -> &Schedule;

    /// How many vectors, each as long as the weights, it remembers per parameter; they start at zero.
    fn moments(&self) -> usize;

    /// Moves `weights` in step `step`, counted from 1, at the learning rate `rate`. `gradient` and all `moments` are as long as
    /// `weights`.
    fn step(&self, step: u64, rate: f64, weights: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>]);
}

/// Every optimizer.
pub static OPTIMIZERS: Shelf<dyn Optimizer> = Shelf::new("optimizer", &[row!(dyn Optimizer, AdamW)]);
shelved! { dyn Optimizer, OPTIMIZERS }

//! `cubic(a to b)`: fast at first, then ever slower: `b + (a - b) (1 - x)^3`.
//!
//! Zhu & Gupta, "To prune, or not to prune" (arXiv 1710.01878): weights go fast while many are redundant, and slowly at the end.

use super::Curve;

/// The cubic of gradual pruning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cubic {
    /// The value at the start.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
}

impl Curve for Cubic {
    fn at(&self, x: f64) -> f64 {
        let left = (1.0 - x).powi(3);
        self.from * left + self.to * (1.0 - left)
    }
}

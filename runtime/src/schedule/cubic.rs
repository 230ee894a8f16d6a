//! `cubic(a to b)`: fast at first, then ever slower: `b + (a - b) (1 - x)^3`.
//!
//! Zhu & Gupta, "To prune, or not to prune" (arXiv 1710.01878): weights go fast while many are redundant, and slowly at the end.

use super::Curve;
use crate::shelf::Ends;
use crate::word;

word! {
    /// From one value to another, fast at first and then ever slower: the curve of gradual pruning.
    pub struct Cubic = "cubic"(
        /// The values at its start and at its end.
        ends: Ends,
    ) {}
}

impl Curve for Cubic {
    fn at(&self, x: f64) -> f64 {
        let left = (1.0 - x).powi(3);
        self.ends.from * left + self.ends.to * (1.0 - left)
    }
}

//! `cosine(a to b)`: slow at both ends: `b + (a - b) (1 + cos(pi x)) / 2`.
//!
//! Loshchilov & Hutter, "SGDR" (arXiv 1608.03983), one cycle without restarts.

use std::f64::consts::PI;

use super::Curve;
use crate::shelf::Ends;
use crate::word;

word! {
    /// From one value to another along half a wave, slow at both ends.
    pub struct Cosine = "cosine"(
        /// The values at its start and at its end.
        ends: Ends,
    ) {}
}

impl Curve for Cosine {
    fn at(&self, x: f64) -> f64 {
        let left = (1.0 + (PI * x).cos()) / 2.0;
        self.ends.from * left + self.ends.to * (1.0 - left)
    }
}

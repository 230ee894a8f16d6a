//! `cosine(a to b)`: slow at both ends: `b + (a - b) (1 + cos(pi x)) / 2`.
//!
//! Loshchilov & Hutter, "SGDR" (arXiv 1608.03983), one cycle without restarts.

use std::f64::consts::PI;

use super::Curve;

/// Half a wave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The value at the start.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
}

impl Curve for Cosine {
    fn at(&self, x: f64) -> f64 {
        let left = (1.0 + (PI * x).cos()) / 2.0;
        self.from * left + self.to * (1.0 - left)
    }
}

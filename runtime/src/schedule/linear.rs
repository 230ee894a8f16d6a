//! `linear(a to b)`: at the same pace from one value to the other.

use super::Curve;

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The value at the start.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
}

impl Curve for Linear {
    fn at(&self, x: f64) -> f64 {
        self.from * (1.0 - x) + self.to * x
    }
}

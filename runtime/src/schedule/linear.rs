//! `linear(a to b)`: at the same pace from one value to the other.

use super::Curve;
use crate::shelf::Ends;
use crate::word;

word! {
    /// From one value to another at the same pace.
    pub struct Linear = "linear"(
        /// The values at its start and at its end.
        ends: Ends,
    ) {}
}

impl Curve for Linear {
    fn at(&self, x: f64) -> f64 {
        self.ends.from * (1.0 - x) + self.ends.to * x
    }
}

//! `constant(x)`: the same value all the time.

use super::Curve;
use crate::shelf::Level;
use crate::word;

word! {
    /// The same value all the time.
    pub struct Constant = "constant"(
        /// The value.
        value: Level,
    ) {}
}

impl Curve for Constant {
    fn at(&self, _: f64) -> f64 {
        self.value.0
    }
}

//! `constant(x)`: the same value all the time.

use super::Curve;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    /// The value.
    pub value: f64,
}

impl Curve for Constant {
    fn at(&self, _: f64) -> f64 {
        self.value
    }
}

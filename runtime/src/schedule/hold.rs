//! `hold(x)`: stays at a value, between or after segments that move.

use super::Curve;

/// One value for the length of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hold {
    /// The value.
    pub value: f64,
}

impl Curve for Hold {
    fn at(&self, _: f64) -> f64 {
        self.value
    }
}

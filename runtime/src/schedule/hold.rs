//! `hold(x)`: stays at a value, between or after segments that move.

use super::Curve;
use crate::shelf::Level;
use crate::word;

word! {
    /// Stays at a value between or after segments that move.
    pub struct Hold = "hold"(
        /// The value.
        value: Level,
    ) {}
}

impl Curve for Hold {
    fn at(&self, _: f64) -> f64 {
        self.value.0
    }
}

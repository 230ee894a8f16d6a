//! `n_of_m`, written `2:4`: so many of every so many weights stay.

use super::{Form, Pattern};
use crate::word;

word! {
    /// In each row, so many of every so many inputs stay; written `2:4`, `16:32`, `16:64`.
    pub struct NOfM = "n_of_m" {
        /// Weights of a group that stay.
        kept: usize where "1..4096",
        /// Weights of a group.
        of: usize where "2..4096",
    }
}

impl Form for NOfM {
    fn pattern(&self) -> Pattern {
        Pattern::Groups { kept: self.kept, of: self.of }
    }
}

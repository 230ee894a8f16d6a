//! `unstructured`: zeros lie anywhere.

use super::{Form, Pattern};
use crate::word;

word! {
    /// Zeros lie anywhere.
    pub struct Unstructured = "unstructured";
}

impl Form for Unstructured {
    fn pattern(&self) -> Pattern {
        Pattern::Unstructured
    }
}

//! Machine code made for a mask.

mod budget;

pub use budget::CodeBudget;

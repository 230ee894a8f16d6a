//! Sparse matrix formats, number formats, this CPU, and the machine code made for a mask.

mod mask;

pub use mask::Mask;

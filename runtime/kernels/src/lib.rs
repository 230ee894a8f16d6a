#![doc = include_str!("../README.md")]

pub mod activation;
pub mod bench;
mod buffer;
pub mod cpu;
pub mod element;
mod epilogue;
mod error;
#[doc(hidden)]
pub mod foreign;
pub mod format;
mod jit;
mod linear;
mod mask;
mod matrix;
mod operands;
#[cfg(target_arch = "x86_64")]
mod panel;
mod pattern;
#[cfg(target_arch = "x86_64")]
mod prefetch;
mod share;
mod simd;
mod testing;
mod tune;

pub use activation::Activation;
pub use cpu::{Cpu, Tier};
pub use element::{Element, Values};
pub use epilogue::Epilogue;
pub use error::{KernelError, Result};
pub use format::dense::Panels;
pub use jit::{CodeBudget, CodeCache};
pub use linear::{Choice, Chosen, Explanation, FeedForward, Options, SparseLinear};
pub use mask::Mask;
pub use matrix::SparseMatrix;
pub use operands::Operands;
pub use pattern::Pattern;
pub use tune::{Layer, RANGES, TokenRange, Tuning};

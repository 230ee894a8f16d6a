//! Machine code made for a mask: [`block`] says what each function computes, [`emit`] generates it for four tokens, [`widen`] makes
//! it compute eight or sixteen, [`verify`] proves it harmless, [`memory`] makes it executable, and [`cache`] keeps it for the next
//! run. `docs/kernels.md` draws the road.
//!
//! Code is made for x86-64 alone; elsewhere only the budget and the cache are there.

mod budget;
mod cache;
pub use budget::CodeBudget;
pub use cache::CodeCache;

#[cfg(target_arch = "x86_64")]
mod block;
#[cfg(target_arch = "x86_64")]
mod compile;
#[cfg(target_arch = "x86_64")]
mod emit;
#[cfg(target_arch = "x86_64")]
pub(crate) mod foreign;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod verify;
#[cfg(target_arch = "x86_64")]
mod widen;

#[cfg(target_arch = "x86_64")]
pub(crate) use self::{
    block::{Block, Core, Cut},
    budget::Grant,
    compile::{accumulators, compile, estimate_bytes},
    memory::Code,
};

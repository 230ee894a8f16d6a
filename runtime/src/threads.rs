//! How many threads compute: one pool, set once, shared by candle, the kernels and everything of ours.

use std::num::NonZeroUsize;

use crate::{Fault, Result};

/// Sizes the process's thread pool; without a wish it has one thread per core. Call once, before anything computes.
///
/// # Errors
/// When the pool was sized before, or the machine refuses threads.
pub fn set(threads: Option<NonZeroUsize>) -> Result<()> {
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Fault::environment(format!("cannot start {threads} threads: {error}")))
}

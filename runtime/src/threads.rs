//! How many threads compute: one pool, set once, shared by candle, the kernels and everything of ours.

use std::num::NonZeroUsize;

use crate::{Fault, Result, memory};

/// Does `work` on a pool of `threads` threads; without a wish it has one per core. Call once, at the start of the process.
///
/// `work` itself runs on a thread of the pool: a training step is a thousand short parallel operations, and a thread outside would
/// be put to sleep and woken for each of them.
///
/// # Errors
/// When the pool was sized before, or the machine refuses threads.
pub fn run<R: Send>(threads: Option<NonZeroUsize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    memory::keep_free();
    // candle has a second pool for elementwise operations, whose threads spin while they wait for each other.
    // SAFETY: the process has no other thread yet that could read the environment at the same time.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(16 << 20)
        .build_global()
        .map_err(|error| Fault::environment(format!("cannot start {threads} threads: {error}")))?;
    Ok(rayon::scope(|_| work()))
}

//! Asking for weights before they are read, so that memory and products do not take turns.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// Asks for the cache line at `at`, for products of several tokens: into the second level. The first has room for few lines that are on
/// their way (Zen 4: 24, so that no more than 14 GB/s come at a latency of 110 ns), and loads wait while it is full.
#[inline(always)]
pub(crate) fn ask<T>(at: *const T) {
    // SAFETY: a prefetch is a hint, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}

/// Asks for the cache line that products of `TOKENS` tokens, which read from front to back, read some time after the one at `at`. One
/// token leaves nothing to do meanwhile but reading, and the hardware foresees that far: what it fetched is to come nearer.
#[inline(always)]
pub(crate) fn ask_ahead<const TOKENS: usize, T>(at: *const T) {
    if TOKENS == 1 {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_byte_add(4096).cast()) };
    } else {
        ask(at.wrapping_byte_add(8192));
    }
}

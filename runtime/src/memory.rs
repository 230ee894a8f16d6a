//! The allocator of programs, and how long it keeps memory that is free.

/// What a program names as its global allocator: without it, every training step would fault its large tensors in anew.
pub use mimalloc::MiMalloc as Allocator;

/// The number of `mi_option_purge_delay` in mimalloc 2 and 3, which the bindings leave to the documentation.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// For how many milliseconds free memory is kept. By default mimalloc hands all that is free back to the system after one second: for
/// a training step that takes about as long, a tenth of its time.
const KEPT: std::ffi::c_long = 60_000;

/// Keeps free memory for a minute, unless the environment says otherwise (`MIMALLOC_PURGE_DELAY`). Call at the start of the process.
pub(crate) fn keep_free() {
    // SAFETY: the process has no other thread yet that could set an option at the same time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEPT) }
}

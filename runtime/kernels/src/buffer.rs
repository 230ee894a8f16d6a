//! FP32 buffers that begin on a cache line, and a store of them so that a product that is repeated allocates nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Values per cache line of 64 bytes.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// FP32 values that begin on a 64-byte boundary.
///
/// *Invariant*: `len <= lines.len() * LINE`.
#[derive(Clone, Default)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Makes the buffer `len` long; what it holds is unspecified.
    fn resize(&mut self, len: usize) {
        self.lines.resize(len.div_ceil(LINE), Line([0.0; LINE]));
        self.len = len;
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` and as large as its 16 values, so `lines` is `lines.len() * LINE` initialized values in a
        // row, and `len` is no more than that.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

thread_local! {
    static IDLE: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan from its thread's store; it goes back when dropped, on whichever thread that is.
pub(crate) struct Scratch(Aligned);

impl Scratch {
    /// `len` values, whatever they held before.
    pub(crate) fn take(len: usize) -> Self {
        let mut buffer = IDLE.with_borrow_mut(Vec::pop).unwrap_or_default();
        buffer.resize(len);
        Self(buffer)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // A thread that is ending has no store any more: then the buffer is freed.
        let _ = IDLE.try_with(|idle| idle.borrow_mut().push(buffer));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_come_back() {
        let first = Scratch::take(1000).as_ptr();
        let mut again = Scratch::take(17);
        assert_eq!((again.as_ptr(), again.len()), (first, 17));
        assert_eq!(again.as_ptr() as usize % 64, 0);
        again.fill(1.0);
        assert_eq!(Aligned::zeros(33).iter().sum::<f32>(), 0.0);
    }
}

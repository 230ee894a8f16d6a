//! Buffers that begin on a cache line, and a store of them so that a product that is repeated allocates nothing.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use half::{bf16, f16};

/// Bytes per cache line.
const LINE: usize = 64;

/// Bytes of a large page on the processors that have one.
const LARGE_PAGE: usize = 2 << 20;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// What a buffer may hold.
///
/// # Safety
/// A number has no padding, its size divides that of a cache line, and any bits are one.
pub(crate) unsafe trait Number: Copy + Default + PartialEq + Send + Sync + 'static {}

// SAFETY: a primitive of 4 bytes.
unsafe impl Number for f32 {}
// SAFETY: a transparent `u16`.
unsafe impl Number for bf16 {}
// SAFETY: a transparent `u16`.
unsafe impl Number for f16 {}
// SAFETY: a primitive of 1 byte.
unsafe impl Number for i8 {}
// SAFETY: a primitive of 1 byte.
unsafe impl Number for u8 {}
// SAFETY: a primitive of 4 bytes.
unsafe impl Number for i32 {}
// SAFETY: a primitive of 8 bytes.
unsafe impl Number for u64 {}

/// Numbers that begin on a 64-byte boundary.
///
/// *Invariant*: `len * size_of::<T>() <= lines.len() * LINE`.
#[derive(Clone)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    number: PhantomData<T>,
}

impl<T: Number> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let count = lines::<T>(len);
        let mut lines = Vec::with_capacity(count);
        ask_for_large_pages(&lines);
        lines.resize(count, Line([0; LINE]));
        Self { lines, len, number: PhantomData }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }
}

impl Aligned<u8> {
    /// Groups of four bytes, those that are whole, in the order of this machine.
    pub(crate) fn words(&self) -> &[i32] {
        // SAFETY: lines begin on a boundary that suits any `Number`, any bits are one, and by the invariant `len` bytes lie inside of
        // the lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len / size_of::<i32>()) }
    }
}

/// Lines that hold `len` numbers.
fn lines<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(LINE)
}

/// Fewer, larger pages for what will be written there: matrices that are read from memory from front to back otherwise wait for the
/// addresses of small ones. A hint, without effect where the system knows none.
fn ask_for_large_pages(lines: &Vec<Line>) {
    #[cfg(target_os = "linux")]
    {
        let start = (lines.as_ptr() as usize).next_multiple_of(LARGE_PAGE);
        let end = (lines.as_ptr() as usize + lines.capacity() * LINE) / LARGE_PAGE * LARGE_PAGE;
        if start < end {
            // SAFETY: whole pages inside of an allocation of ours; the advice changes neither their content nor their rights.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
        }
    }
    let _ = lines;
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `Line` is `repr(C)` and as large as its 64 initialized bytes, which begin on a boundary that suits any `Number`,
        // any bits are a number, and by the invariant `len` of them lie inside of the lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

thread_local! {
    static IDLE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan from its thread's store; it goes back when dropped, on whichever thread that is.
pub(crate) struct Scratch<T>(Aligned<T>);

impl<T: Number> Scratch<T> {
    /// `len` numbers, whatever their memory held before.
    pub(crate) fn take(len: usize) -> Self {
        let mut lines_of_any_length = IDLE.with_borrow_mut(Vec::pop).unwrap_or_default();
        if lines_of_any_length.len() < lines::<T>(len) {
            lines_of_any_length.resize(lines::<T>(len), Line([0; LINE]));
        }
        Self(Aligned { lines: lines_of_any_length, len, number: PhantomData })
    }
}

impl Scratch<u8> {
    /// See [`Aligned::words`].
    pub(crate) fn words(&self) -> &[i32] {
        self.0.words()
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0.lines);
        // A thread that is ending has no store any more: then the buffer is freed.
        let _ = IDLE.try_with(|idle| idle.borrow_mut().push(lines));
    }
}

impl<T: Number> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Number> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_come_back() {
        let first = Scratch::<f32>::take(1000).as_ptr();
        let mut again = Scratch::<i8>::take(17);
        assert_eq!((again.as_ptr().cast(), again.len()), (first, 17));
        assert_eq!(again.as_ptr() as usize % 64, 0);
        again.fill(1);
        let zeros = Aligned::<f32>::zeros(33);
        assert_eq!((zeros.iter().sum::<f32>(), zeros.len(), zeros.bytes()), (0.0, 33, 192));
        let large = Aligned::<u8>::zeros(5 * LARGE_PAGE);
        assert!(large.iter().all(|byte| *byte == 0));
    }
}

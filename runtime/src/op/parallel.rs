//! How the work of an operation is split among threads: in equal parts, decided by the sizes and the number of threads alone.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::vector;

/// Values per piece of [`piece_sums`], and the fewest that are worth a second thread.
const PIECE: usize = 16 * 1024;

/// Rows per part when `rows` of `width` values are shared out.
pub(super) fn rows_per_part(rows: usize, width: usize) -> usize {
    let worthwhile = PIECE.div_ceil(width.max(1));
    rows.div_ceil(rayon::current_num_threads()).max(worthwhile).max(1)
}

/// Calls `work(first_row, part)` for consecutive parts of `out`, `[rows, width]`.
pub(super) fn for_rows<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = rows_per_part(out.len() / width.max(1), width);
    if out.len() <= rows * width {
        return work(0, out);
    }
    out.par_chunks_mut(rows * width).enumerate().for_each(|(part, out)| work(part * rows, out));
}

/// `len` new values in rows of `width`; `write(first_row, part)` is called for consecutive parts of them.
///
/// # Safety
/// `write` writes every element of its part.
pub(super) unsafe fn written(len: usize, width: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    for_rows(&mut values.spare_capacity_mut()[..len], width, write);
    // SAFETY: the parts cover all elements, and the caller promises that each part was written.
    unsafe { values.set_len(len) };
    values
}

/// As [`written`], over `values`.
///
/// # Safety
/// `write` writes every element of its part, and nothing but values.
pub(super) unsafe fn overwrite(values: &mut [f32], write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) {
    // SAFETY: a value is laid out as one that may be missing, and the caller promises that none is afterwards.
    let values = unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) };
    for_rows(values, 1, write);
}

/// Calls `work` with three slices of these lengths, whatever they held before; the thread keeps their memory for the next call.
pub(super) fn with_room<T>(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3]) -> T) -> T {
    thread_local! {
        static ROOMS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    }
    // One for each call that is inside of another.
    let mut room = ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let len = lengths.iter().sum::<usize>();
    if room.len() < len {
        room.resize(len.next_power_of_two(), 0.0);
    }
    let (first, rest) = room.split_at_mut(lengths[0]);
    let (second, rest) = rest.split_at_mut(lengths[1]);
    let result = work([first, second, &mut rest[..lengths[2]]]);
    ROOMS.with_borrow_mut(|rooms| rooms.push(room));
    result
}

/// The sum of the squares of `values`, in double precision.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    piece_sums(values.len(), |piece| vector::sum_of_squares(&values[piece]))
}

/// The sum of `of(piece)` over pieces of [`PIECE`] values of `0..len`, added up in order, whatever the number of threads.
pub(super) fn piece_sums(len: usize, of: impl Fn(std::ops::Range<usize>) -> f64 + Sync) -> f64 {
    let pieces = (0..len.div_ceil(PIECE)).into_par_iter();
    let sums: Vec<f64> = pieces.map(|piece| of(piece * PIECE..len.min((piece + 1) * PIECE))).collect();
    sums.iter().sum()
}

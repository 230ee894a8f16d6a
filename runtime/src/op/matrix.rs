//! Matrix products over strided views: the safe door to the `gemm` crate.
//!
//! Views know their bounds, so that the unsafe call below can be checked by reading this file alone.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

/// A strided view of FP32 values.
///
/// *Invariant*: every element `row * row_stride + col * col_stride` lies inside `values`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `cols` values that start `row_stride` values apart.
    pub(super) fn strided(values: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        check_bounds(values.len(), rows, cols, row_stride);
        Self { values, rows, cols, row_stride, col_stride: 1 }
    }

    /// `[rows, cols]`, row-major.
    pub(super) fn row_major(values: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(values, rows, cols, cols)
    }

    /// Rows of the view.
    pub(super) fn rows(self) -> usize {
        self.rows
    }

    /// Columns of the view.
    pub(super) fn cols(self) -> usize {
        self.cols
    }

    /// Some of the rows.
    fn some_rows(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.rows, "rows of the view");
        Self { values: self.values.get(rows.start * self.row_stride..).unwrap_or_default(), rows: rows.len(), ..self }
    }

    /// Some of the columns.
    fn some_cols(self, cols: Range<usize>) -> Self {
        self.transposed().some_rows(cols).transposed()
    }

    /// The same values with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// A strided view to write to.
///
/// *Invariant*: every element `row * row_stride + col` may be written through `start` during `'a`, by this view alone.
pub(super) struct MatrixMut<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// Rows of `cols` values that start `row_stride` values apart.
    pub(super) fn strided(values: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        check_bounds(values.len(), rows, cols, row_stride);
        Self { start: values.as_mut_ptr(), rows, cols, row_stride, lifetime: PhantomData }
    }

    /// `[rows, cols]`, row-major.
    pub(super) fn row_major(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(values, rows, cols, cols)
    }
}

// SAFETY: whoever holds a view is the only one to touch its elements, on whatever thread.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// One row.
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "a row of the view");
        // SAFETY: by the invariant these elements may be written, and `self` is borrowed for as long as they are.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.row_stride), self.cols) }
    }

    /// Views of `count` rows each, less in the last, and which rows they are; no two have an element in common.
    fn in_rows(self, count: usize) -> impl Iterator<Item = (Range<usize>, Self)> {
        ranges(self.rows, count).map(move |rows| {
            let start = self.start.wrapping_add(rows.start * self.row_stride);
            (rows.clone(), Self { start, rows: rows.len(), ..self })
        })
    }

    /// Views of `count` columns each, less in the last, and which columns they are; no two have an element in common.
    fn in_cols(self, count: usize) -> impl Iterator<Item = (Range<usize>, Self)> {
        ranges(self.cols, count)
            .map(move |cols| (cols.clone(), Self { start: self.start.wrapping_add(cols.start), cols: cols.len(), ..self }))
    }
}

/// `0..len` in ranges of `count`, less in the last.
fn ranges(len: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(count.max(1)).map(move |first| first..len.min(first + count))
}

/// Values that several threads write at once, each its own columns.
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is only handed out by `part`, whose callers promise that parts do not overlap.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Takes the values for as long as parts are written.
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lifetime: PhantomData }
    }

    /// The view of `rows` rows of `cols` values, the first at `offset`, `row_stride` values apart.
    ///
    /// # Safety
    /// No two views that are alive at the same time have an element in common.
    pub(super) unsafe fn part(&self, offset: usize, rows: usize, cols: usize, row_stride: usize) -> MatrixMut<'a> {
        check_bounds(self.len.saturating_sub(offset), rows, cols, row_stride);
        // SAFETY: the first element, if there is one, lies inside, as checked above.
        let start = if rows * cols == 0 { self.start } else { unsafe { self.start.add(offset) } };
        MatrixMut { start, rows, cols, row_stride, lifetime: PhantomData }
    }
}

/// What a product does with the values that were there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// Forgets them.
    Nothing,
    /// Adds to them.
    Sum,
}

/// Who computes a product.
#[derive(Clone, Copy)]
pub(super) enum On {
    /// The calling thread: the caller is parallel itself.
    Thread,
    /// The current pool.
    Pool,
}

/// `out = scale * a b`, or `out += scale * a b`; `a: [m, k]`, `b: [k, n]`, `out: [m, n]`.
///
/// # Panics
/// When the shapes do not fit each other.
pub(super) fn product(out: MatrixMut<'_>, onto: Onto, scale: f32, a: Matrix<'_>, b: Matrix<'_>, on: On) {
    assert!(a.cols == b.rows && out.rows == a.rows && out.cols == b.cols, "matrix shapes fit");
    let threads = match on {
        On::Pool if out.rows * out.cols * a.cols >= WORTHWHILE => rayon::current_num_threads(),
        _ => 1,
    };
    // The longer side is shared out: then the threads pack the least of the same operand.
    let mut parts = Vec::with_capacity(threads);
    if out.rows >= out.cols {
        let count = out.rows.div_ceil(threads).next_multiple_of(TILE.0);
        parts.extend(out.in_rows(count).map(|(rows, out)| (out, a.some_rows(rows), b)));
    } else {
        let count = out.cols.div_ceil(threads).next_multiple_of(TILE.1);
        parts.extend(out.in_cols(count).map(|(cols, out)| (out, a, b.some_cols(cols))));
    }
    parts.into_par_iter().for_each(|(out, a, b)| multiply(out, onto, scale, a, b));
}

/// Multiply-adds that are worth a second thread.
const WORTHWHILE: usize = 1 << 19;

/// Rows and columns that `gemm` computes at once.
const TILE: (usize, usize) = (6, 16);

/// [`product`] on the calling thread, of shapes that fit.
fn multiply(out: MatrixMut<'_>, onto: Onto, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    // SAFETY: the views' invariants say that every element which `gemm` reads or writes is inside, and that nobody else holds `out`;
    // `product` has checked that the shapes fit.
    unsafe {
        gemm::gemm(
            out.rows,
            out.cols,
            a.cols,
            out.start,
            1,
            out.row_stride as isize,
            onto == Onto::Sum,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `scale * a b` as new values, row-major.
///
/// # Panics
/// When the shapes do not fit each other.
pub(super) fn new_product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, on: On) -> Vec<f32> {
    let elements = a.rows * b.cols;
    let mut values = Vec::with_capacity(elements);
    let out = MatrixMut { start: values.as_mut_ptr(), rows: a.rows, cols: b.cols, row_stride: b.cols, lifetime: PhantomData };
    product(out, Onto::Nothing, scale, a, b, on);
    // SAFETY: the vector has room for all elements, and a product onto nothing writes every one without reading any.
    unsafe { values.set_len(elements) };
    values
}

fn check_bounds(len: usize, rows: usize, cols: usize, row_stride: usize) {
    assert!(cols <= row_stride || rows <= 1, "rows do not overlap");
    assert!(rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= len, "a view of [{rows}, {cols}] fits {len} values");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn plain(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f32> {
        let element = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        (0..m * n).map(|at| element(at / n, at % n)).collect()
    }

    #[test]
    fn products_of_views_follow_the_definition() {
        let (m, k, n) = (5, 7, 3);
        let a: Vec<f32> = (0..m * k).map(|i| (i % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i % 7) as f32 - 3.0).collect();
        let expected = plain(&a, &b, m, k, n);
        let b_transposed: Vec<f32> = (0..k * n).map(|at| b[at % k * n + at / k]).collect();
        for (onto, rest) in [(Onto::Nothing, 0.0), (Onto::Sum, 1.0)] {
            let mut out = vec![1.0; m * 8];
            let transposed = Matrix::row_major(&b_transposed, n, k).transposed();
            product(MatrixMut::strided(&mut out, m, n, 8), onto, 2.0, Matrix::row_major(&a, m, k), transposed, On::Pool);
            for (row, expected) in out.chunks(8).zip(expected.chunks(n)) {
                assert!(row[..n].iter().zip(expected).all(|(got, want)| *got == 2.0 * want + rest));
                assert!(row[n..].iter().all(|untouched| *untouched == 1.0));
            }
        }
        let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, k, n));
        assert_eq!(new_product(1.0, a, b, On::Thread), expected);
    }

    #[test]
    fn threads_share_rows_or_columns_and_forget_none() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (m, k, n) in [(131, 65, 70), (70, 65, 131), (1, 1 << 13, 67), (67, 1 << 13, 1)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i % 7) as f32 - 3.0).collect();
            let (left, right) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, k, n));
            assert!(m * k * n >= WORTHWHILE, "one thread would compute this");
            assert_eq!(pool.install(|| new_product(1.0, left, right, On::Pool)), plain(&a, &b, m, k, n));
        }
    }
}

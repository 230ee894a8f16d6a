//! What a product reads and writes, checked once.

use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Result, expect_length};
use crate::simd::{self, Kernel, Vector};
use crate::{Cpu, Epilogue};

/// The activations and the place for the results of `y = x W^T + bias`, and what is done to these while they are near.
///
/// *Invariant*: `x.len() == tokens * cols` and `y.len() == tokens * rows`, as many as the epilogue has factors and residuals if it has any.
pub struct Operands<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    tokens: usize,
    rows: usize,
    cols: usize,
    epilogue: Epilogue<'a>,
}

impl<'a> Operands<'a> {
    /// `x: [tokens, cols]` and `y: [tokens, rows]`, both row-major.
    ///
    /// # Errors
    /// When a length is not what its shape says.
    pub fn new(x: &'a [f32], y: &'a mut [f32], tokens: usize, rows: usize, cols: usize) -> Result<Self> {
        expect_length("activations", x.len(), tokens.saturating_mul(cols))?;
        expect_length("results", y.len(), tokens.saturating_mul(rows))?;
        Ok(Self { x, y, tokens, rows, cols, epilogue: Epilogue::default() })
    }

    /// The same, followed by `epilogue`.
    ///
    /// # Errors
    /// When it has factors or residuals, and not one for each result.
    pub fn then(self, epilogue: Epilogue<'a>) -> Result<Self> {
        epilogue.check(self.y.len())?;
        Ok(Self { epilogue, ..self })
    }

    /// Activations, `[tokens, cols]`.
    pub fn x(&self) -> &'a [f32] {
        self.x
    }

    /// Activations of one token, `[cols]`.
    pub fn token(&self, token: usize) -> &'a [f32] {
        &self.x[token * self.cols..][..self.cols]
    }

    /// Results, `[tokens, rows]`.
    pub fn y(&mut self) -> &mut [f32] {
        self.y
    }

    /// What is done to the results.
    pub(crate) fn epilogue(&self) -> Epilogue<'a> {
        self.epilogue
    }

    /// Rows of the activations.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The tokens before `token`, and those from it on.
    pub(crate) fn split_at(&mut self, token: usize) -> (Operands<'_>, Operands<'_>) {
        let (rows, cols) = (self.rows, self.cols);
        let (x, y) = (self.x.split_at(token * cols), self.y.split_at_mut(token * rows));
        let epilogue = self.epilogue.split_at(token * rows);
        let part = |x, y, tokens, epilogue| Operands { x, y, tokens, rows, cols, epilogue };
        (part(x.0, y.0, token, epilogue.0), part(x.1, y.1, self.tokens - token, epilogue.1))
    }

    /// The results as something that threads can divide by output row.
    pub(crate) fn output(&mut self) -> OutputRows<'_> {
        OutputRows {
            y: self.y.as_mut_ptr(),
            tokens: self.tokens,
            stride: self.rows,
            rows: 0..self.rows,
            epilogue: self.epilogue,
            lifetime: PhantomData,
        }
    }
}

/// The results of a range of output rows for every token: the part of `y` that one thread may write.
///
/// *Invariant*: `y` points to `tokens * stride` values, no two parts of one output overlap, and `rows.end <= stride`.
pub(crate) struct OutputRows<'a> {
    y: *mut f32,
    tokens: usize,
    stride: usize,
    rows: Range<usize>,
    epilogue: Epilogue<'a>,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: a part is the only way to reach its values, as `&mut [f32]` would be.
unsafe impl Send for OutputRows<'_> {}

impl<'a> OutputRows<'a> {
    /// The parts before and from `row`.
    pub(crate) fn split_at(self, row: usize) -> (Self, Self) {
        assert!(self.rows.start <= row && row <= self.rows.end, "{row} is not in {:?}", self.rows);
        let (start, end) = (self.rows.start, self.rows.end);
        (Self { rows: start..row, ..self }, Self { rows: row..end, ..self })
    }

    /// The results of `token` for `rows`.
    pub(crate) fn token_mut(&mut self, token: usize, rows: Range<usize>) -> &mut [f32] {
        let results = self.results(rows.clone(), token..token + 1);
        // SAFETY: they are inside of this part, whose values nothing else reaches while `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(results.first, rows.end - rows.start) }
    }

    /// Where the results of `rows` are for `tokens`, one at least.
    pub(crate) fn results(&mut self, rows: Range<usize>, tokens: Range<usize>) -> Results {
        assert!(self.rows.start <= rows.start && rows.start <= rows.end && rows.end <= self.rows.end);
        assert!(tokens.start < tokens.end && tokens.end <= self.tokens);
        Results { first: self.y.wrapping_add(tokens.start * self.stride + rows.start), stride: self.stride }
    }

    /// Asks for the memory of the results of `rows` for `tokens`, so that it is near when they are written.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn ask_for(&mut self, rows: Range<usize>, tokens: Range<usize>) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        for token in tokens {
            for line in self.token_mut(token, rows.clone()).chunks(LINE) {
                // SAFETY: a prefetch is a hint; the address is that of a result.
                unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.as_ptr().cast()) };
            }
        }
    }

    /// Does what follows the product to the results of `rows` for `tokens`, which are written. Each is finished once.
    pub(crate) fn finish(&mut self, rows: Range<usize>, tokens: Range<usize>) {
        if self.epilogue.is_nothing() {
            return;
        }
        let (epilogue, stride) = (self.epilogue, self.stride);
        let runs = tokens.map(|token| {
            let run: *mut [f32] = self.token_mut(token, rows.clone());
            // SAFETY: the runs of two tokens have nothing in common, and `self` is borrowed for as long as they are used.
            (token * stride + rows.start, unsafe { &mut *run })
        });
        simd::dispatch(Cpu::this().tier, Finish { epilogue: &epilogue, runs });
    }
}

/// An epilogue over runs of results.
struct Finish<'a, 'b, R> {
    epilogue: &'a Epilogue<'b>,
    /// Runs of results, each with the place of its first among `[tokens, rows]`.
    runs: R,
}

impl<'r, R: Iterator<Item = (usize, &'r mut [f32])>> Kernel for Finish<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (first, results) in self.runs {
            if let Some(activation) = self.epilogue.activation {
                activation.change(results);
            }
            if let Some(factor) = self.epilogue.factor {
                for (result, factor) in results.iter_mut().zip(&factor[first..]) {
                    *result *= *factor;
                }
            }
            if let Some(residual) = self.epilogue.residual {
                for (result, residual) in results.iter_mut().zip(&residual[first..]) {
                    *result += *residual;
                }
            }
        }
    }
}

/// Results of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 16;

/// Where a kernel writes the results of a tile: those of a token lie in a row, `stride` from those of the one before.
#[derive(Clone, Copy)]
pub(crate) struct Results {
    first: *mut f32,
    stride: usize,
}

impl Results {
    /// Where the results of a token of the tile begin.
    #[inline(always)]
    pub(crate) fn token(self, token: usize) -> *mut f32 {
        self.first.wrapping_add(token * self.stride)
    }

    /// Asks for the memory of the first results of `COUNT` tokens, so that it is near when they are written.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn ask_for<const COUNT: usize>(self) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        for token in 0..COUNT {
            // SAFETY: a prefetch is a hint, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(self.token(token).cast()) };
        }
    }
}

impl OutputRows<'_> {
    /// Calls `compute` with room for `width` results of each of `tokens`, of which there are at most `TILE`. `rows`, at most `width` of
    /// them, receive theirs: directly, or from a small buffer where there are fewer. Then they are finished.
    pub(crate) fn tile<const TILE: usize, const WIDTH: usize>(
        &mut self,
        rows: Range<usize>,
        width: usize,
        tokens: Range<usize>,
        compute: impl FnOnce(Results),
    ) {
        assert!(rows.len() <= width && width <= WIDTH && tokens.len() <= TILE);
        if rows.len() == width && !tokens.is_empty() {
            compute(self.results(rows.clone(), tokens.clone()));
        } else {
            let mut padded = [[0.0; WIDTH]; TILE];
            compute(Results { first: padded.as_mut_ptr().cast(), stride: WIDTH });
            for (token, padded) in tokens.clone().zip(&padded) {
                self.token_mut(token, rows.clone()).copy_from_slice(&padded[..rows.len()]);
            }
        }
        self.finish(rows, tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_part_reaches_no_other() {
        let mut y = [0.0; 8];
        let mut operands = Operands::new(&[0.0; 2], &mut y, 2, 4, 1).unwrap();
        let (mut top, _) = operands.output().split_at(2);
        top.token_mut(0, 1..3);
    }
}

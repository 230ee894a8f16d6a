//! Convolution over time as a matrix product: each sequence's windows become the columns of a matrix (im2col).

use candle_core::{Shape, Tensor, bail};
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, On, Onto, product};
use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `x: [batch, cin, time]`, `weight: [cout, cin, kernel]`, `bias: [cout]` give `[batch, cout, steps]` with
/// `steps = (time + 2 padding - kernel) / stride + 1`; zeros stand before and after each sequence. Differentiable in all three.
///
/// # Errors
/// When the shapes do not fit each other, or a sequence with its padding is shorter than the kernel.
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, bias, stride, padding)?);
    }
    let convolution = Conv1d { stride, padding };
    let _span = profile::span(Part::Convolution, || size_of::<f32>() * (x.elem_count() + weight.elem_count()));
    let sizes = convolution.sizes(x.shape(), weight.shape(), bias.shape())?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let y = convolution.forward(sizes, &Values::of(&x)?, &Values::of(&weight)?, &Values::of(&bias)?);
    let y = tape::output(y, (sizes.batch, sizes.cout, sizes.steps), &[&x, &weight, &bias])?;
    tape::record(&y, move |dy, gradients| {
        let (dx, dw, db) = convolution.backward(sizes, &Values::of(&x)?, &Values::of(&weight)?, &dy, x.track_op());
        gradients.add(&x, || dx);
        gradients.add(&weight, || dw);
        gradients.add(&bias, || db);
        Ok(())
    });
    Ok(y)
}

/// The definition: one product for each tap of the kernel. candle's own `conv1d` gives wrong gradients for some strides.
fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize, padding: usize) -> candle_core::Result<Tensor> {
    let kernel = weight.dim(2)?;
    let padded = x.pad_with_zeros(2, padding, padding)?;
    let steps = (padded.dim(2)? - kernel) / stride + 1;
    let mut y = bias.reshape((1, (), 1))?;
    for tap in 0..kernel {
        let at: Vec<u32> = (0..steps).map(|step| (step * stride + tap) as u32).collect();
        let inputs = padded.index_select(&Tensor::new(at, x.device())?, 2)?;
        y = weight.narrow(2, tap, 1)?.squeeze(2)?.broadcast_matmul(&inputs)?.broadcast_add(&y)?;
    }
    Ok(y)
}

struct Conv1d {
    stride: usize,
    padding: usize,
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    cin: usize,
    time: usize,
    cout: usize,
    kernel: usize,
    steps: usize,
}

impl Sizes {
    /// Values of one output of one sequence that come from the input: rows of the column matrix.
    fn window(&self) -> usize {
        self.cin * self.kernel
    }

    /// Sequences that one thread computes, and who computes a product: single long sequences are shared by all threads.
    fn split(&self) -> (usize, On) {
        let threads = rayon::current_num_threads();
        if self.batch < threads { (self.batch.max(1), On::Pool) } else { (self.batch.div_ceil(threads), On::Thread) }
    }
}

impl Conv1d {
    fn sizes(&self, x: &Shape, weight: &Shape, bias: &Shape) -> candle_core::Result<Sizes> {
        let ((batch, cin, time), (cout, inputs, kernel)) = (x.dims3()?, weight.dims3()?);
        let padded = time + 2 * self.padding;
        if inputs != cin || bias.dims() != [cout] || kernel == 0 || padded < kernel || self.stride == 0 {
            bail!("a convolution of {weight:?} with bias {bias:?}, stride {} was given {x:?}", self.stride);
        }
        Ok(Sizes { batch, cin, time, cout, kernel, steps: (padded - kernel) / self.stride + 1 })
    }

    /// The steps whose `tap`-th input lies inside the sequence, and where the first of these inputs lies.
    fn inside(&self, sizes: Sizes, tap: usize) -> (std::ops::Range<usize>, usize) {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride).min(sizes.steps);
        let end = (sizes.time + self.padding).saturating_sub(tap).div_ceil(self.stride).clamp(first, sizes.steps);
        (first..end, (first * self.stride + tap).saturating_sub(self.padding))
    }

    /// The windows of one sequence `[cin, time]` as columns, `[cin * kernel, steps]`.
    fn windows(&self, sizes: Sizes, x: &[f32], columns: &mut [f32]) {
        for (at, row) in columns.chunks_exact_mut(sizes.steps).enumerate() {
            let (steps, from) = self.inside(sizes, at % sizes.kernel);
            let channel = &x[at / sizes.kernel * sizes.time..][..sizes.time];
            row[..steps.start].fill(0.0);
            row[steps.end..].fill(0.0);
            let inputs = channel.get(from..).unwrap_or_default();
            if self.stride == 1 {
                row[steps.clone()].copy_from_slice(&inputs[..steps.len()]);
            } else {
                row[steps].iter_mut().zip(inputs.iter().step_by(self.stride)).for_each(|(row, input)| *row = *input);
            }
        }
    }

    /// Adds gradients of the columns to those of the inputs they came from.
    fn add_windows(&self, sizes: Sizes, columns: &[f32], dx: &mut [f32]) {
        for (at, row) in columns.chunks_exact(sizes.steps).enumerate() {
            let (steps, from) = self.inside(sizes, at % sizes.kernel);
            let channel = &mut dx[at / sizes.kernel * sizes.time..][..sizes.time];
            let inputs = channel.get_mut(from..).unwrap_or_default();
            inputs.iter_mut().step_by(self.stride).zip(&row[steps]).for_each(|(input, row)| *input += row);
        }
    }

    /// `[batch, cout, steps]`.
    fn forward(&self, sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Sizes { batch, cin, time, cout, steps, .. } = sizes;
        let (part, on) = sizes.split();
        let mut y = vec![0.0; batch * cout * steps];
        y.par_chunks_mut((part * cout * steps).max(1)).zip(x.par_chunks((part * cin * time).max(1))).for_each(|(y, x)| {
            let mut columns = vec![0.0; sizes.window() * steps];
            for (y, x) in y.chunks_exact_mut(cout * steps).zip(x.chunks_exact(cin * time)) {
                self.windows(sizes, x, &mut columns);
                y.chunks_exact_mut(steps).zip(bias).for_each(|(row, bias)| row.fill(*bias));
                let weight = Matrix::row_major(weight, cout, sizes.window());
                let columns = Matrix::row_major(&columns, sizes.window(), steps);
                product(MatrixMut::row_major(y, cout, steps), Onto::Sum, 1.0, weight, columns, on);
            }
        });
        y
    }

    /// The gradients of `x`, which stays empty unless it is `wanted`, of the weight and of the bias.
    fn backward(&self, sizes: Sizes, x: &[f32], weight: &[f32], dy: &[f32], wanted: bool) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let Sizes { cin, time, cout, steps, .. } = sizes;
        let part = sizes.split().0;
        let (of_x, of_dy) = ((part * cin * time).max(1), (part * cout * steps).max(1));
        let pairs = x.par_chunks(of_x).zip(dy.par_chunks(of_dy));
        let mut dx = vec![0.0; if wanted { x.len() } else { 0 }];
        let partial: Vec<_> = if wanted {
            let triples = pairs.zip(dx.par_chunks_mut(of_x));
            triples.map(|((x, dy), dx)| self.backward_part(sizes, (x, weight, dy), Some(dx))).collect()
        } else {
            pairs.map(|(x, dy)| self.backward_part(sizes, (x, weight, dy), None)).collect()
        };
        let (mut dw, mut db) = (vec![0.0; weight.len()], vec![0.0; cout]);
        for (part_dw, part_db) in &partial {
            vector::add(&mut dw, part_dw);
            vector::add(&mut db, part_db);
        }
        (dx, dw, db)
    }

    /// The gradients that the sequences `x` with `dy` give: `[dw, db]`, and `dx` in its place if there is one.
    fn backward_part(
        &self,
        sizes: Sizes,
        (x, weight, dy): (&[f32], &[f32], &[f32]),
        mut dx: Option<&mut [f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let Sizes { cin, time, cout, steps, .. } = sizes;
        let (window, on) = (sizes.window(), sizes.split().1);
        let (mut dw, mut db) = (vec![0.0; cout * window], vec![0.0; cout]);
        let mut columns = vec![0.0; window * steps];
        for (at, (x, dy)) in x.chunks_exact(cin * time).zip(dy.chunks_exact(cout * steps)).enumerate() {
            self.windows(sizes, x, &mut columns);
            let slopes = Matrix::row_major(dy, cout, steps);
            let inputs = Matrix::row_major(&columns, window, steps).transposed();
            product(MatrixMut::row_major(&mut dw, cout, window), Onto::Sum, 1.0, slopes, inputs, on);
            db.iter_mut().zip(dy.chunks_exact(steps)).for_each(|(db, dy)| *db += vector::sum(dy));
            if let Some(dx) = &mut dx {
                let weight = Matrix::row_major(weight, cout, window).transposed();
                product(MatrixMut::row_major(&mut columns, window, steps), Onto::Nothing, 1.0, weight, slopes, on);
                self.add_windows(sizes, &columns, &mut dx[at * cin * time..][..cin * time]);
            }
        }
        (dw, db)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn conv1d_is_its_reference() {
        for (batch, time, kernel, stride, padding) in [(1, 12, 3, 1, 1), (5, 13, 3, 2, 1), (2, 9, 4, 3, 0), (3, 2, 5, 1, 2)] {
            let (x, weight, bias) = (variable(&[batch, 4, time], 1), variable(&[6, 4, kernel], 2), variable(&[6], 3));
            let fused = || Ok(conv1d(&x, &weight, &bias, stride, padding)?);
            assert_operation(&[&x, &weight, &bias], fused, || reference(&x, &weight, &bias, stride, padding));
        }
    }

    #[test]
    fn a_sequence_shorter_than_the_kernel_is_an_error() {
        let (x, weight, bias) = (variable(&[1, 4, 2], 4), variable(&[6, 4, 5], 5), variable(&[6], 6));
        assert!(conv1d(&x, &weight, &bias, 1, 1).is_err());
        assert!(conv1d(&x, &weight, &weight, 1, 2).is_err());
    }
}

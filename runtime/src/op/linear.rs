//! `y = x W^T + b`, bias and its gradient fused, no transposed copies.

use candle_core::Tensor;
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, On, Onto, new_product, product};
use super::parallel::{rows_per_part, written};
use super::tape::{self, Gradients};
use super::{Values, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `x: [.., in]`, `weight: [out, in]`, `bias: [out]` give `[.., out]`; differentiable in all three.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    check(x, weight, bias)?;
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, bias)?);
    }
    let _span = profile::span(Part::Linear, || size_of::<f32>() * (x.elem_count() + weight.elem_count()));
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let inputs = [&x, &weight, bias.as_ref().unwrap_or(&x)];
    let (before, (out, _)) = (&x.dims()[..x.rank() - 1], weight.dims2()?);
    let y = match before.iter().product::<usize>() == 1 && !tape::is_watched(&inputs) {
        true => {
            let (x, weight, bias) = (Values::of(&x)?, Values::of(&weight)?, bias.as_ref().map(Values::of).transpose()?);
            tape::filled(before, out, &inputs, |y| {
                one_row(&x, &weight, bias.as_deref(), y);
                Ok(())
            })?
        }
        false => tape::output(forward(&x, &weight, bias.as_ref())?, [before, &[out]].concat(), &inputs)?,
    };
    tape::record(&y, move |dy, gradients| backward(&x, &weight, bias.as_ref(), &dy, gradients));
    Ok(y)
}

/// The definition.
fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let product = x.broadcast_matmul(&weight.t()?)?;
    match bias {
        Some(bias) => product.broadcast_add(bias),
        None => Ok(product),
    }
}

fn check(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> candle_core::Result<()> {
    let (out, inputs) = weight.dims2()?;
    if x.dims().last() != Some(&inputs) || bias.is_some_and(|bias| bias.dims() != [out]) {
        let bias = bias.map(Tensor::dims);
        candle_core::bail!("a linear layer of [{out}, {inputs}] with bias {bias:?} was given {:?}", x.dims());
    }
    Ok(())
}

/// The result of one row, which reads the weight once and copies nothing.
fn one_row(x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let inputs = x.len();
    if inputs == 0 {
        y.fill(0.0);
        return bias.into_iter().for_each(|bias| y.copy_from_slice(bias));
    }
    let rows = rows_per_part(y.len(), inputs);
    let part = |(at, y): (usize, &mut [f32])| {
        let first = at * rows;
        let bias = bias.map(|bias| &bias[first..first + y.len()]);
        vector::matrix_by_vector(&weight[first * inputs..][..y.len() * inputs], x, bias, y);
    };
    y.par_chunks_mut(rows).enumerate().for_each(part);
}

/// The values of the result.
fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> candle_core::Result<Vec<f32>> {
    let (out, inputs) = weight.dims2()?;
    let (x, weight, bias) = (Values::of(x)?, Values::of(weight)?, bias.map(Values::of).transpose()?);
    let rows = x.len() / inputs.max(1);
    let (x, weight) = (Matrix::row_major(&x, rows, inputs), Matrix::row_major(&weight, out, inputs).transposed());
    let Some(bias) = bias else { return Ok(new_product(1.0, x, weight, On::Pool)) };
    // SAFETY: every part consists of whole rows, as long as the bias that is written to each.
    let mut y = unsafe {
        written(rows * out, out, |_, part| {
            for row in part.chunks_exact_mut(out) {
                row.write_copy_of_slice(&bias);
            }
        })
    };
    product(MatrixMut::row_major(&mut y, rows, out), Onto::Sum, 1.0, x, weight, On::Pool);
    Ok(y)
}

/// Adds the gradients of those arguments for which somebody asks.
fn backward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    dy: &[f32],
    gradients: &mut Gradients,
) -> candle_core::Result<()> {
    let (out, inputs) = weight.dims2()?;
    let rows = dy.len() / out.max(1);
    let slopes = Matrix::row_major(dy, rows, out);
    let (x_values, weight_values) = (Values::of(x)?, Values::of(weight)?);
    gradients.add_product(x, slopes, Matrix::row_major(&weight_values, out, inputs));
    gradients.add_product(weight, slopes.transposed(), Matrix::row_major(&x_values, rows, inputs));
    if let Some(bias) = bias {
        gradients.add(bias, || column_sums(dy, out));
    }
    Ok(())
}

/// The sum of each column of `values`, `[rows, width]`; partial sums of parts are added in order.
pub(super) fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let part = rows_per_part(values.len() / width.max(1), width) * width;
    let partial: Vec<Vec<f32>> = values
        .par_chunks(part.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; width];
            rows.chunks_exact(width).for_each(|row| vector::add(&mut sums, row));
            sums
        })
        .collect();
    let mut sums = vec![0.0; width];
    partial.iter().for_each(|part| vector::add(&mut sums, part));
    sums
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn linear_is_its_reference() {
        let (x, weight, bias) = (variable(&[3, 5, 33], 1), variable(&[17, 33], 2), variable(&[17], 3));
        let fused = || Ok(linear(&x, &weight, Some(&bias))?);
        assert_operation(&[&x, &weight, &bias], fused, || reference(&x, &weight, Some(&bias)));
        assert_operation(&[&x, &weight], || Ok(linear(&x, &weight, None)?), || reference(&x, &weight, None));
    }

    #[test]
    fn one_row_and_a_transposed_input_work() {
        let (x, weight) = (variable(&[33, 1], 4), variable(&[17, 33], 5));
        assert_operation(&[&x, &weight], || Ok(linear(&x.t()?, &weight, None)?), || reference(&x.t()?, &weight, None));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let (x, weight, bias) = (variable(&[2, 8], 6), variable(&[4, 8], 7), variable(&[5], 8));
        assert!(linear(&x, &weight, Some(&bias)).is_err());
        assert!(linear(&weight.t().unwrap(), &weight, None).is_err());
    }
}

//! `y = x W^T + b`, bias and its gradient fused, no transposed copies.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, On, Onto, new_product, product};
use super::parallel::rows_per_part;
use super::{Values, values, vector};
use crate::Result;

/// `x: [.., in]`, `weight: [out, in]`, `bias: [out]` give `[.., out]`; differentiable in all three.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    check(x, weight, bias)?;
    if !x.device().is_cpu() {
        return Ok(reference(x, weight, bias)?);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Linear)?,
        None => x.apply_op2(&weight, Linear)?,
    })
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

struct Linear;

impl Linear {
    fn forward(&self, x: (&CpuStorage, &Layout), weight: (&CpuStorage, &Layout), bias: Option<&[f32]>) -> Forward {
        let (out, inputs) = weight.1.shape().dims2()?;
        let (x_values, weight) = (values(x.0, x.1)?, values(weight.0, weight.1)?);
        let rows = x.1.shape().elem_count() / inputs.max(1);
        let (x_values, weight) = (Matrix::row_major(x_values, rows, inputs), Matrix::row_major(weight, out, inputs).transposed());
        let y = match bias {
            Some(bias) => {
                let mut y = Vec::with_capacity(rows * out);
                (0..rows).for_each(|_| y.extend_from_slice(bias));
                product(MatrixMut::row_major(&mut y, rows, out), Onto::Sum, 1.0, x_values, weight, On::Pool);
                y
            }
            None => new_product(1.0, x_values, weight, On::Pool),
        };
        let mut dims = x.1.dims().to_vec();
        dims.pop();
        dims.push(out);
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    /// The gradients of `x` (only where somebody asks) and of the weight.
    fn backward(&self, x: &Tensor, weight: &Tensor, dy: &Values<'_>) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (out, inputs) = weight.dims2()?;
        let rows = dy.len() / out.max(1);
        let dy = Matrix::row_major(dy, rows, out);
        let dx = x.track_op().then(|| {
            let dx = new_product(1.0, dy, Matrix::row_major(&Values::of(weight)?, out, inputs), On::Pool);
            Tensor::from_vec(dx, x.shape(), x.device())
        });
        let dw = weight.track_op().then(|| {
            let dw = new_product(1.0, dy.transposed(), Matrix::row_major(&Values::of(x)?, rows, inputs), On::Pool);
            Tensor::from_vec(dw, weight.shape(), weight.device())
        });
        Ok((dx.transpose()?, dw.transpose()?))
    }
}

type Forward = candle_core::Result<(CpuStorage, Shape)>;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, weight: &CpuStorage, weight_layout: &Layout) -> Forward {
        self.forward((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, weight, &Values::of(&dy.contiguous()?)?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Forward {
        self.forward((x, x_layout), (weight, weight_layout), Some(values(bias, bias_layout)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let dy = Values::of(&dy)?;
        let (dx, dw) = self.backward(x, weight, &dy)?;
        let db = Tensor::from_vec(column_sums(&dy, bias.elem_count()), bias.shape(), bias.device())?;
        Ok((dx, dw, Some(db)))
    }
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

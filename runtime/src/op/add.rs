//! Sums of two tensors, such as those around a residual branch.

use candle_core::Tensor;

use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `a + b`, both of one shape; differentiable in both.
///
/// # Errors
/// When the shapes differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() || a.dims() != b.dims() {
        return Ok(a.add(b)?);
    }
    let _span = profile::span(Part::Copies, || size_of::<f32>() * 3 * a.elem_count());
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let sum = {
        let inputs = [&a, &b];
        let (a, b) = (Values::of(&a)?, Values::of(&b)?);
        // SAFETY: `write_sum` writes as many values as it reads of both, and both are as long as the sum.
        unsafe {
            tape::written(&inputs, |first, sum| {
                let part = first..first + sum.len();
                vector::write_sum(&a[part.clone()], &b[part], sum);
            })?
        }
    };
    tape::record(&sum, move |slopes, gradients| {
        gradients.share(&a, &slopes);
        gradients.share(&b, &slopes);
        Ok(())
    });
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn add_is_its_reference() {
        let (a, b) = (variable(&[3, 5, 7], 1), variable(&[3, 5, 7], 2));
        assert_operation(&[&a, &b], || Ok(add(&a, &b)?), || a.add(&b));
        assert_operation(&[&a], || Ok(add(&a, &a)?), || a.add(&a));
        assert!(add(&a, &b.t().unwrap()).is_err());
    }
}

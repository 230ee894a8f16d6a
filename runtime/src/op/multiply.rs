//! Products element by element, such as those of a gated linear unit.

use candle_core::Tensor;
use multiversion::multiversion;
use std::mem::MaybeUninit;

use super::parallel::written;
use super::{Values, tape};
use crate::Result;

/// `a * b` of each element, both of one shape; differentiable in both.
///
/// # Errors
/// When the shapes differ.
pub fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() || a.dims() != b.dims() {
        return Ok(a.mul(b)?);
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let product = {
        let inputs = [&a, &b];
        let (a, b) = (Values::of(&a)?, Values::of(&b)?);
        // SAFETY: `write_products` writes as many values as it reads of both, and both are as long as the product.
        unsafe {
            tape::written(&inputs, |first, product| {
                let part = first..first + product.len();
                write_products(&a[part.clone()], &b[part], product);
            })?
        }
    };
    tape::record(&product, move |slopes, gradients| {
        let (of_a, of_b) = (Values::of(&a)?, Values::of(&b)?);
        gradients.add(&a, || products(&slopes, &of_b));
        gradients.add(&b, || products(&slopes, &of_a));
        Ok(())
    });
    Ok(product)
}

/// `a * b`, both of one length.
fn products(a: &[f32], b: &[f32]) -> Vec<f32> {
    assert_eq!(a.len(), b.len());
    // SAFETY: `write_products` writes as many values as it reads of both, and both are as long as the result.
    unsafe {
        written(a.len(), 1, |first, product| {
            let part = first..first + product.len();
            write_products(&a[part.clone()], &b[part], product);
        })
    }
}

#[multiversion(targets = "simd")]
fn write_products(a: &[f32], b: &[f32], products: &mut [MaybeUninit<f32>]) {
    for ((product, a), b) in products.iter_mut().zip(a).zip(b) {
        product.write(a * b);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn multiply_is_its_reference() {
        let (a, b) = (variable(&[3, 5, 7], 1), variable(&[3, 5, 7], 2));
        assert_operation(&[&a, &b], || Ok(multiply(&a, &b)?), || a.mul(&b));
        assert_operation(&[&a], || Ok(multiply(&a, &a)?), || a.mul(&a));
        assert!(multiply(&a, &b.t().unwrap()).is_err());
    }
}

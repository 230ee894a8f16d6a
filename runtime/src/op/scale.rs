//! A tensor times a number.

use candle_core::Tensor;

use super::parallel::for_rows;
use super::{Values, tape, vector};
use crate::Result;

/// `factor * x` of each element, `x: [.., width]`; differentiable.
///
/// # Errors
/// When `x` has no side.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    let Some((&width, before)) = x.dims().split_last().filter(|_| x.device().is_cpu()) else {
        return Ok(reference(x, factor)?);
    };
    let x = x.contiguous()?;
    let scaled = {
        let values = Values::of(&x)?;
        tape::filled(before, width, &[&x], |scaled| {
            for_rows(scaled, 1, |first, part| vector::write_scaled(&values[first..first + part.len()], factor, part));
            Ok(())
        })?
    };
    tape::record(&scaled, move |slopes, gradients| {
        gradients.add(&x, || {
            let mut dx = vec![0.0; slopes.len()];
            vector::write_scaled(&slopes, factor, &mut dx);
            dx
        });
        Ok(())
    });
    Ok(scaled)
}

/// The definition.
fn reference(x: &Tensor, factor: f32) -> candle_core::Result<Tensor> {
    x * f64::from(factor)
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn scale_is_its_reference() {
        let x = variable(&[3, 5, 7], 1);
        assert_operation(&[&x], || Ok(scale(&x, -0.37)?), || reference(&x, -0.37));
        assert_operation(&[&x], || Ok(scale(&x.t()?, 2.0)?), || reference(&x.t()?, 2.0));
    }
}

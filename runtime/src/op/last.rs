//! What stands at the end of each sequence.

use candle_core::Tensor;

use super::{Values, tape};
use crate::Result;

/// The last row of each sequence of `x`, `[batch, time, width] -> [batch, width]`; differentiable.
///
/// # Errors
/// When sequences are empty.
pub fn last(x: &Tensor) -> Result<Tensor> {
    let (batch, time, width) = x.dims3()?;
    if time == 0 || !x.device().is_cpu() {
        return Ok(reference(x)?);
    }
    let x = x.contiguous()?;
    let rows = {
        let values = Values::of(&x)?;
        tape::filled(&[batch], width, &[&x], |rows| {
            for (row, sequence) in rows.chunks_exact_mut(width.max(1)).zip(values.chunks_exact((time * width).max(1))) {
                row.copy_from_slice(&sequence[(time - 1) * width..]);
            }
            Ok(())
        })?
    };
    tape::record(&rows, move |slopes, gradients| {
        gradients.add(&x, || {
            let mut dx = vec![0.0; batch * time * width];
            for (row, sequence) in slopes.chunks_exact(width.max(1)).zip(dx.chunks_exact_mut((time * width).max(1))) {
                sequence[(time - 1) * width..].copy_from_slice(row);
            }
            dx
        });
        Ok(())
    });
    Ok(rows)
}

/// The definition.
fn reference(x: &Tensor) -> candle_core::Result<Tensor> {
    let time = x.dim(1)?;
    if time == 0 {
        candle_core::bail!("the last row of {:?}", x.dims());
    }
    x.narrow(1, time - 1, 1)?.squeeze(1)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn last_is_its_reference() {
        let x = variable(&[3, 4, 5], 1);
        assert_operation(&[&x], || Ok(last(&x)?), || reference(&x));
        assert!(last(&x.narrow(1, 0, 0).unwrap()).is_err());
    }
}

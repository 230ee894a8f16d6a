//! Some columns of a tensor as one of its own, and the gradients of several such back side by side.

use candle_core::Tensor;

use super::parallel::for_rows;
use super::{Values, tape};
use crate::Result;

/// The columns `first..first + width` of `x`, `[.., columns] -> [.., width]`. Differentiable in `x`.
///
/// # Errors
/// When `x` has fewer columns.
pub fn columns(x: &Tensor, first: usize, width: usize) -> Result<Tensor> {
    let dims = x.dims();
    let columns = dims.last().copied().unwrap_or(0);
    if width == 0 || first.checked_add(width).is_none_or(|end| end > columns) {
        return Err(candle_core::Error::Msg(format!("columns {first} and {width} more of {dims:?}")).into());
    }
    if !x.device().is_cpu() {
        return Ok(reference(x, first, width)?);
    }
    let x = x.contiguous()?;
    let taken = {
        let values = Values::of(&x)?;
        tape::filled(&dims[..dims.len() - 1], width, &[&x], |taken| {
            for_rows(taken, width, |row, part| {
                for (at, to) in part.chunks_exact_mut(width).enumerate() {
                    to.copy_from_slice(&values[(row + at) * columns + first..][..width]);
                }
            });
            Ok(())
        })?
    };
    tape::record(&taken, move |dy, gradients| {
        gradients.add_columns(&x, columns, first, width, &dy);
        Ok(())
    });
    Ok(taken)
}

/// The definition.
fn reference(x: &Tensor, first: usize, width: usize) -> candle_core::Result<Tensor> {
    x.narrow(x.rank() - 1, first, width)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::add;
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn columns_are_their_reference() {
        let x = variable(&[2, 5, 12], 1);
        for (first, width) in [(0, 12), (0, 3), (4, 4), (9, 3)] {
            assert_operation(&[&x], || Ok(columns(&x, first, width)?), || reference(&x, first, width));
        }
    }

    #[test]
    fn gradients_of_several_parts_come_together() {
        let x = variable(&[3, 8], 2);
        let fused = || Ok(add(&columns(&x, 0, 4)?, &columns(&x, 2, 4)?)?);
        assert_operation(&[&x], fused, || reference(&x, 0, 4)? + reference(&x, 2, 4)?);
    }

    #[test]
    fn columns_that_are_not_there_are_an_error() {
        let x = variable(&[3, 8], 3);
        assert!(columns(&x, 6, 3).is_err() && columns(&x, usize::MAX, 2).is_err() && columns(&x, 0, 0).is_err());
    }
}

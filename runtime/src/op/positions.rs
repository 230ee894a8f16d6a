//! Vectors of positions added to those of tokens.

use candle_core::Tensor;

use super::{Values, tape, vector};
use crate::Result;
use crate::profile::{self, Part};

/// `x`, `[batch, time, width]`, and the rows of `table`, `[positions, width]`, from `first` on; differentiable in both.
///
/// # Errors
/// When the shapes do not fit each other, or the table ends too early.
pub fn add_positions(x: &Tensor, table: &Tensor, first: usize) -> Result<Tensor> {
    let ((batch, time, width), (positions, of_table)) = (x.dims3()?, table.dims2()?);
    if width != of_table || first + time > positions {
        let message = format!("the positions from {first} of {:?} for {:?}", table.dims(), x.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    if !x.device().is_cpu() {
        return Ok(reference(x, table, first)?);
    }
    let _span = profile::span(Part::Embedding, || size_of::<f32>() * 2 * x.elem_count());
    let (x, table) = (x.contiguous()?, table.contiguous()?);
    let sum = {
        let (x_values, table_values) = (Values::of(&x)?, Values::of(&table)?);
        let rows = &table_values[first * width..][..time * width];
        tape::filled(&[batch, time], width, &[&x, &table], |sum| {
            sum.copy_from_slice(&x_values);
            sum.chunks_exact_mut((time * width).max(1)).for_each(|sum| vector::add(sum, rows));
            Ok(())
        })?
    };
    tape::record(&sum, move |slopes, gradients| {
        gradients.share(&x, &slopes);
        gradients.add(&table, || {
            let mut of_table = vec![0.0; positions * width];
            let rows = &mut of_table[first * width..][..time * width];
            slopes.chunks_exact((time * width).max(1)).for_each(|slopes| vector::add(rows, slopes));
            of_table
        });
        Ok(())
    });
    Ok(sum)
}

/// The definition.
fn reference(x: &Tensor, table: &Tensor, first: usize) -> candle_core::Result<Tensor> {
    x.broadcast_add(&table.narrow(0, first, x.dim(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use super::*;

    #[test]
    fn positions_are_their_reference() {
        let (x, table) = (variable(&[3, 4, 5], 1), variable(&[9, 5], 2));
        for first in [0, 2, 5] {
            let fused = || Ok(add_positions(&x, &table, first)?);
            assert_operation(&[&x, &table], fused, || reference(&x, &table, first));
        }
        assert!(add_positions(&x, &table, 6).is_err() && add_positions(&x, &x, 0).is_err());
    }
}

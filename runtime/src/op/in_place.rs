//! Changing the values of a variable where they lie.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, bail};

use crate::Result;

/// Calls `change` with the values of `variable`, a contiguous FP32 tensor on the CPU. Whoever shares its storage sees the change.
///
/// # Errors
/// When it is something else.
pub fn in_place(variable: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<()> {
    Ok(variable.inplace_op1(&InPlace(Cell::new(Some(change))))?)
}

/// A change that is made once.
struct InPlace<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "in_place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(all), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("only contiguous FP32 values can be changed in place");
        };
        if let Some(change) = self.0.take() {
            change(&mut all[start..end]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{flat, variable};
    use super::*;

    #[test]
    fn the_values_change_and_the_tensor_stays() {
        let variable = variable(&[2, 3], 1);
        let shared = variable.as_tensor().clone();
        in_place(&variable, |values| values.fill(2.0)).unwrap();
        assert_eq!(flat(&shared), [2.0; 6]);
        assert!(in_place(&variable.t().unwrap(), |_| ()).is_err());
    }
}

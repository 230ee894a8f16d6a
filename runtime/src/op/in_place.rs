//! Changing the values of a variable where they lie.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, bail};

use crate::Result;

/// Calls `change` with the values of `variable`, a contiguous FP32 tensor on the CPU. Whoever shares its storage sees the change.
///
/// # Errors
/// When it is something else.
pub fn in_place(variable: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<()> {
    Slot::constant(variable.clone()).change(change)
}

/// A tensor whose values are changed again and again where they lie, as caches are and results that are used again.
///
/// Before candle lets an operation change a tensor it lists the sides of the tensor in new memory, but a view of one value has no side
/// to list. Changes go through such a view, which hands out the same storage.
#[derive(Clone)]
pub struct Slot {
    values: Tensor,
    /// The first of the values; none where changes go through the tensor itself.
    first: Option<Tensor>,
}

impl Slot {
    /// That of `values`, which are contiguous.
    ///
    /// # Errors
    /// When they are not.
    pub fn new(values: Tensor) -> Result<Self> {
        if !values.is_contiguous() {
            return Err(candle_core::Error::Msg(format!("a slot of {:?} that do not lie in a row", values.dims())).into());
        }
        let first = values.flatten_all()?.narrow(0, 0, values.elem_count().min(1))?;
        Ok(Self { values, first: Some(first) })
    }

    /// That of `values`, which will hardly be changed.
    pub fn constant(values: Tensor) -> Self {
        Self { values, first: None }
    }

    /// The values as they are now.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Calls `change` with the values; whoever shares their storage sees the change.
    ///
    /// # Errors
    /// When they are not contiguous FP32 values on the CPU.
    pub fn change(&self, change: impl FnOnce(&mut [f32])) -> Result<()> {
        let place = self.values.layout().contiguous_offsets();
        let through = self.first.as_ref().unwrap_or(&self.values);
        Ok(through.inplace_op1(&InPlace { place, change: Cell::new(Some(change)) })?)
    }
}

/// A change that is made once, of the values at `place`.
struct InPlace<F> {
    place: Option<(usize, usize)>,
    change: Cell<Option<F>>,
}

impl<F: FnOnce(&mut [f32])> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "in_place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        let values = match (storage, self.place) {
            (CpuStorage::F32(all), Some((start, end))) => all.get_mut(start..end),
            _ => None,
        };
        let Some(values) = values else { bail!("only contiguous FP32 values can be changed in place") };
        if let Some(change) = self.change.take() {
            change(values);
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

    #[test]
    fn a_slot_changes_its_own_part_of_a_storage() {
        let all = variable(&[4, 3], 2).detach();
        let before = flat(&all);
        let slot = Slot::new(all.narrow(0, 1, 2).unwrap()).unwrap();
        slot.change(|values| values.fill(7.0)).unwrap();
        assert_eq!(flat(&all), [&before[..3], &[7.0; 6], &before[9..]].concat());
        assert_eq!(flat(slot.values()), [7.0; 6]);
        let empty = Slot::new(all.narrow(0, 0, 0).unwrap()).unwrap();
        empty.change(|values| assert!(values.is_empty())).unwrap();
        assert!(Slot::new(all.t().unwrap()).is_err() && Slot::constant(all.t().unwrap()).change(|_| ()).is_err());
        let integers = all.to_dtype(candle_core::DType::I64).unwrap();
        assert!(Slot::new(integers).unwrap().change(|_| ()).is_err());
    }
}

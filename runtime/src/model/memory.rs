//! What attention remembers: keys and values of tokens that were read before.

use candle_core::Tensor;

use crate::Result;
use crate::op::{self, Scope};
use crate::profile::{self, Part};

/// Projected keys and values, each `[batch, keys, width]`, of which the last rows may be room for more.
#[derive(Clone)]
pub(super) struct KeysValues {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
    /// How many keys there are.
    count: usize,
}

impl KeysValues {
    /// Keys and values without room, `[batch, keys, width]`.
    pub(super) fn new(keys: Tensor, values: Tensor) -> Result<Self> {
        let count = keys.dim(1)?;
        Ok(Self { keys, values, count })
    }

    /// These, followed in time by `later`; where they lie, if there is room.
    pub(super) fn extended(self, later: &Self) -> Result<Self> {
        let _span = profile::span(Part::Copies, || 2 * size_of::<f32>() * 2 * later.keys.elem_count());
        Ok(Self {
            keys: op::append(&self.keys, self.count, &later.keys)?,
            values: op::append(&self.values, self.count, &later.values)?,
            count: self.count + later.count,
        })
    }

    /// `scope` over the keys that there are.
    pub(super) fn scope<'a>(&self, scope: Scope<'a>) -> Scope<'a> {
        Scope { keys: Some(self.count), ..scope }
    }

    /// Those of the sequences `rows`.
    pub(super) fn select(&self, rows: &[usize]) -> Result<Self> {
        let rows = rows.iter().map(|&row| row as u32).collect::<Vec<_>>();
        let rows = Tensor::from_slice(&rows, rows.len(), self.keys.device())?;
        Ok(Self { keys: self.keys.index_select(&rows, 0)?, values: self.values.index_select(&rows, 0)?, count: self.count })
    }
}

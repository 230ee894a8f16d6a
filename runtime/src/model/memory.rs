//! What attention remembers: keys and values of tokens that were read before.

use candle_core::Tensor;

use crate::Result;
use crate::profile::{self, Part};

/// Projected keys and values, each `[batch, keys, width]`.
#[derive(Clone)]
pub(super) struct KeysValues {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

impl KeysValues {
    /// These, followed in time by `later`.
    pub(super) fn extended(&self, later: &Self) -> Result<Self> {
        let _span = profile::span(Part::Copies, || 0);
        let join = |before: &Tensor, after: &Tensor| Tensor::cat(&[before, after], 1);
        Ok(Self { keys: join(&self.keys, &later.keys)?, values: join(&self.values, &later.values)? })
    }

    /// Those of the sequences `rows`.
    pub(super) fn select(&self, rows: &[usize]) -> Result<Self> {
        let rows = rows.iter().map(|&row| row as u32).collect::<Vec<_>>();
        let rows = Tensor::from_slice(&rows, rows.len(), self.keys.device())?;
        Ok(Self { keys: self.keys.index_select(&rows, 0)?, values: self.values.index_select(&rows, 0)? })
    }
}

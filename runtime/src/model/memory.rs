//! What attention remembers: keys and values of tokens that were read before.

use candle_core::Tensor;

use crate::Result;
use crate::op::{self, Scope, Slot, Workspace};
use crate::profile::{self, Part};

/// Projected keys and values, each `[batch, keys, width]`, of which the last rows may be room for more.
pub(super) struct KeysValues {
    keys: Slot,
    values: Slot,
    /// How many keys there are.
    count: usize,
}

impl KeysValues {
    /// Keys and values without room, `[batch, keys, width]`.
    pub(super) fn new(keys: Tensor, values: Tensor) -> Result<Self> {
        let count = keys.dim(1)?;
        Ok(Self { keys: Slot::constant(keys), values: Slot::constant(values), count })
    }

    /// What `heads` of attention find for `queries`, `[batch, time, width]`, of which they see what `scope` says.
    pub(super) fn attend(&self, queries: &Tensor, heads: usize, scale: f32, scope: Scope<'_>) -> Result<Tensor> {
        let scope = Scope { keys: Some(self.count), ..scope };
        op::attention(queries, self.keys.values(), self.values.values(), heads, scale, scope)
    }

    /// These, followed in time by `later`; where they lie, if there is room.
    pub(super) fn extended(self, later: &Self) -> Result<Self> {
        let _span = profile::span(Part::Copies, || 2 * size_of::<f32>() * 2 * later.keys.values().elem_count());
        Ok(Self {
            keys: op::append(&self.keys, self.count, later.keys.values())?,
            values: op::append(&self.values, self.count, later.values.values())?,
            count: self.count + later.count,
        })
    }

    /// Keeps those of the sequences `rows`; where they lie, if there are as many as before.
    pub(super) fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.keys = op::reorder(&self.keys, self.count, rows)?;
        self.values = op::reorder(&self.values, self.count, rows)?;
        Ok(())
    }
}

/// Of each sequence that is decoded, the sequence of the encoder that it began with.
pub(super) struct Origins(Vec<usize>);

impl Origins {
    /// Those of `batch` sequences, each with its own.
    pub(super) fn of(batch: usize) -> Self {
        Self((0..batch).collect())
    }

    /// Keeps those of the sequences `rows`; whether what is known of the encoder's output has to be selected too. Beams of one sequence
    /// that change places read the same output as before.
    pub(super) fn select(&mut self, rows: &[usize]) -> bool {
        let selected: Vec<usize> = rows.iter().map(|&row| self.0[row]).collect();
        let is_other = selected != self.0;
        self.0 = selected;
        is_other
    }
}

/// A cache that single tokens are computed in, one after the other.
pub(super) trait Stepped: Sized {
    /// Tokens so far, and the memory of what was computed for the last one.
    fn progress(&mut self) -> (usize, &mut Workspace);

    /// Does `pass`, which reads `time` tokens more; from the second step on, single ones are computed in the memory of those before.
    ///
    /// # Errors
    /// Those of `pass`.
    fn step<T>(&mut self, time: usize, pass: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (before, workspace) = self.progress();
        let mut workspace = std::mem::take(workspace);
        let result = if time == 1 && before > 0 { workspace.reuse(|| pass(self)) } else { pass(self) };
        *self.progress().1 = workspace;
        result
    }
}

/// Tokens that the room of a bias grows by.
const BIAS_STEP: usize = 64;

/// The bias of the newest token and those before it, `[heads, 1, room]`: it depends on distances alone, so that one with room serves the
/// next tokens too.
#[derive(Default)]
pub(super) struct RoomyBias(Option<Tensor>);

impl RoomyBias {
    /// That of `keys` keys and perhaps more; `make` gives one of so many.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn of(&mut self, keys: usize, make: impl FnOnce(usize) -> Result<Tensor>) -> Result<Tensor> {
        match &self.0 {
            Some(bias) if bias.dim(2)? >= keys => Ok(bias.clone()),
            _ => Ok(self.0.insert(make(keys.next_multiple_of(BIAS_STEP))?).clone()),
        }
    }
}

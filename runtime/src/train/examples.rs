//! Rows as examples, computed once and kept while there is room.

use rayon::prelude::*;

use crate::batch::Input;
use crate::dataset::{Dataset, Rows};
use crate::model::{self, Processor};
use crate::{Batch, Checkpoint, Example, Fault, Result};

/// Bytes of features that are kept; rows beyond are computed whenever they are needed.
const KEPT_BYTES: usize = 2 << 30;

/// The examples of a data set for one model.
pub struct Examples {
    rows: Rows,
    processor: Box<dyn Processor>,
    kept: Vec<Option<Example>>,
    kept_bytes: usize,
}

impl Examples {
    /// The examples of `rows` for the model of `checkpoint`; nothing is read yet.
    ///
    /// # Errors
    /// A model whose tokenizer or feature extractor cannot be read.
    pub fn new(checkpoint: &Checkpoint, rows: Rows) -> Result<Self> {
        let processor = model::family(&checkpoint.config)?.processor(checkpoint)?;
        let kept = vec![None; rows.len()];
        Ok(Self { rows, processor, kept, kept_bytes: 0 })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The examples of the rows `indices`.
    ///
    /// # Errors
    /// Sound that cannot be read, or does not fit the model.
    pub fn get(&mut self, indices: &[usize]) -> Result<Vec<Example>> {
        let missing: Vec<usize> = indices.iter().copied().filter(|&index| self.kept[index].is_none()).collect();
        let rows = self.rows.rows(&missing, self.processor.sample_rate())?;
        let example = |(row, &index)| self.processor.example(row).map_err(|fault| self.rows.blame(index, fault));
        let mut fresh = rows.par_iter().zip(&missing).map(example).collect::<Result<Vec<_>>>()?.into_iter();
        indices
            .iter()
            .map(|&index| {
                if let Some(example) = &self.kept[index] {
                    return Ok(example.clone());
                }
                let example = fresh.next().ok_or_else(|| Fault::internal("a row was asked for twice in one batch"))?;
                self.kept_bytes += bytes(&example);
                if self.kept_bytes <= KEPT_BYTES {
                    self.kept[index] = Some(example.clone());
                }
                Ok(example)
            })
            .collect()
    }

    /// The batch of the rows `indices`.
    ///
    /// # Errors
    /// As [`Examples::get`].
    pub fn batch(&mut self, indices: &[usize]) -> Result<Batch> {
        let examples = self.get(indices)?;
        self.collate(&examples)
    }

    /// The batch of examples that were changed since they were read.
    ///
    /// # Errors
    /// As [`Batch::of`].
    pub fn collate(&self, examples: &[Example]) -> Result<Batch> {
        Batch::of(examples, self.processor.pad())
    }
}

/// What an example occupies, roughly.
fn bytes(example: &Example) -> usize {
    let input = match &example.input {
        Input::Features(features) => 4 * features.elem_count(),
        Input::Tokens(tokens) => 4 * tokens.len(),
    };
    input + 12 * example.decoder.len()
}

//! Rows as examples, computed once and kept while there is room.

use rayon::prelude::*;

use crate::batch::{IGNORE, Input};
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
    /// Labels of each row that count, once it was read.
    counted: Vec<usize>,
}

impl Examples {
    /// The examples of `rows` for the model of `checkpoint`; nothing is read yet.
    ///
    /// # Errors
    /// A model whose tokenizer or feature extractor cannot be read.
    pub fn new(checkpoint: &Checkpoint, rows: Rows) -> Result<Self> {
        let processor = model::family(&checkpoint.config)?.processor(checkpoint)?;
        let (kept, counted) = (vec![None; rows.len()], vec![0; rows.len()]);
        Ok(Self { rows, processor, kept, kept_bytes: 0, counted })
    }

    /// Reads every row once, so that a recording which is silent, damaged or too long is found before the first step and not in the
    /// middle of training, and keeps as many examples as there is room for. `done` is told how many of how many rows were read.
    ///
    /// # Errors
    /// Every row that cannot be used, and whatever `done` fails with.
    pub fn read_all(&mut self, mut done: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
        let Self { rows, processor, kept, kept_bytes, counted } = self;
        let total = rows.len();
        rows.each(
            |index| example(rows, &**processor, index),
            |index, example| {
                counted[index] = example.labels.iter().filter(|&&label| label != IGNORE).count();
                keep(&mut kept[index], kept_bytes, &example);
                done(index + 1, total)
            },
        )
    }

    /// How many labels of the rows `indices` count; all rows must have been read.
    pub fn counted(&self, indices: &[usize]) -> usize {
        indices.iter().map(|&index| self.counted[index]).sum()
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
        let fresh: Vec<Example> =
            missing.par_iter().map(|&index| example(&self.rows, &*self.processor, index)).collect::<Result<_>>()?;
        let mut fresh = fresh.into_iter();
        indices
            .iter()
            .map(|&index| {
                if let Some(example) = &self.kept[index] {
                    return Ok(example.clone());
                }
                let example = fresh.next().ok_or_else(|| Fault::internal("a row was asked for twice in one batch"))?;
                keep(&mut self.kept[index], &mut self.kept_bytes, &example);
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

/// The example of row `index`; a fault names the row.
fn example(rows: &Rows, processor: &dyn Processor, index: usize) -> Result<Example> {
    let row = rows.row(index, processor.sample_rate())?;
    processor.example(&row).map_err(|fault| rows.blame(index, fault))
}

/// Keeps `example` in `place`, if there is room.
fn keep(place: &mut Option<Example>, kept_bytes: &mut usize, example: &Example) {
    let more = bytes(example);
    if *kept_bytes + more <= KEPT_BYTES {
        *kept_bytes += more;
        *place = Some(example.clone());
    }
}

/// What an example occupies, roughly.
fn bytes(example: &Example) -> usize {
    let input = match &example.input {
        Input::Features(features) => 4 * features.elem_count(),
        Input::Tokens(tokens) => 4 * tokens.len(),
        Input::Nothing => 0,
    };
    input + 12 * example.decoder.len()
}

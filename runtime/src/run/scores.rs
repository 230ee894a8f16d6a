//! What a model says to every row of a data set, computed once and kept batch by batch.

use std::path::Path;

use crate::dataset::{Dataset, Rows};
use crate::model::{self, Model};
use crate::{Checkpoint, Result};

/// Rows that are decoded together.
const BATCH: usize = 16;

/// Adds what `model`, built from `checkpoint`, says to the rows that `texts` does not cover yet, in order. `told` sees the texts after
/// each of several rows, and its fault ends the work at once.
///
/// # Errors
/// Sound that cannot be read, and those of `told`.
pub fn transcripts(
    checkpoint: &Checkpoint,
    model: &dyn Model,
    rows: &Rows,
    texts: &mut Vec<String>,
    told: &mut dyn FnMut(&[String]) -> Result<()>,
) -> Result<()> {
    let processor = model::family(&checkpoint.config)?.processor(checkpoint)?;
    let indices: Vec<usize> = (texts.len()..rows.len()).collect();
    for indices in indices.chunks(BATCH) {
        let heard = rows.rows(indices, processor.sample_rate())?;
        let decoded = processor.decode(model, &heard, None).map_err(|fault| fault.at(rows.path()))?;
        texts.extend(decoded.into_iter().map(|decoded| decoded.text));
        told(texts)?;
    }
    Ok(())
}

/// The texts kept at `path`, of the first of `rows` rows; none if they are no such texts.
pub(super) fn read(path: &Path, rows: usize) -> Vec<String> {
    let texts: Vec<String> = super::read_json(path).unwrap_or_default();
    // Batches begin where they began before, for what else is in its batch may move a text's last bits.
    if texts.len() == rows || (texts.len() < rows && texts.len().is_multiple_of(BATCH)) { texts } else { Vec::new() }
}

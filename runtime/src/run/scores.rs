//! What a model says to every row of a data set, or how likely it finds it: computed once and kept batch by batch.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::batch::{Batch, IGNORE};
use crate::dataset::{Dataset, Rows};
use crate::metric::Counts;
use crate::model::{self, Model, NoTaps};
use crate::{Checkpoint, Result, op};

/// Rows that are computed together.
const BATCH: usize = 16;

/// A way to look at rows: adds to what is found already, and tells so after each of several rows.
pub(super) type Look<T> = fn(&Checkpoint, &dyn Model, &Rows, &mut Vec<T>, &mut dyn FnMut(&[T]) -> Result<()>) -> Result<()>;

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

/// As [`transcripts`], with the counts of perplexity in place of texts: the negative log-likelihood of a row's labels, and their
/// number.
///
/// # Errors
/// Rows that do not fit the model, and those of `told`.
pub fn likelihoods(
    checkpoint: &Checkpoint,
    model: &dyn Model,
    rows: &Rows,
    counts: &mut Vec<Counts>,
    told: &mut dyn FnMut(&[Counts]) -> Result<()>,
) -> Result<()> {
    let processor = model::family(&checkpoint.config)?.processor(checkpoint)?;
    let indices: Vec<usize> = (counts.len()..rows.len()).collect();
    for indices in indices.chunks(BATCH) {
        let heard = rows.rows(indices, processor.sample_rate())?;
        let examples =
            heard.iter().zip(indices).map(|(row, &index)| processor.example(row).map_err(|fault| rows.blame(index, fault)));
        let batch = Batch::of(&examples.collect::<Result<Vec<_>>>()?, processor.pad())?;
        let logits = model.forward(&batch, &mut NoTaps)?;
        for (row, labels) in batch.labels.chunks_exact(batch.decoder.time()).enumerate() {
            let tokens = labels.iter().filter(|&&label| label != IGNORE).count() as f64;
            let mean = op::cross_entropy(&logits.narrow(0, row, 1)?, labels)?.to_scalar::<f32>()?;
            counts.push(vec![f64::from(mean) * tokens, tokens]);
        }
        told(counts)?;
    }
    Ok(())
}

/// What is kept at `path` of the first of `rows` rows; nothing if it is not what was looked for.
pub(super) fn read<T: DeserializeOwned>(path: &Path, rows: usize) -> Vec<T> {
    let found: Vec<T> = super::read_json(path).unwrap_or_default();
    // Batches begin where they began before, for what else is in its batch may move a row's last bits.
    if found.len() == rows || (found.len() < rows && found.len().is_multiple_of(BATCH)) { found } else { Vec::new() }
}

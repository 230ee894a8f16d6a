//! What a model says to every row of a data set, computed once and kept.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Events};
use crate::dataset::{Dataset, Rows};
use crate::model::{self, Model};
use crate::{Checkpoint, Fault, Result, disk, stage};

/// Rows that are decoded together.
const BATCH: usize = 16;

/// What `model`, built from `checkpoint`, says to every row, in order.
///
/// # Errors
/// Sound that cannot be read, or an interruption.
pub fn transcripts(
    checkpoint: &Checkpoint,
    model: &dyn Model,
    rows: &Rows,
    interrupted: &AtomicBool,
    events: &mut dyn Events,
) -> Result<Vec<String>> {
    let processor = model::family(&checkpoint.config)?.processor(checkpoint)?;
    let indices: Vec<usize> = (0..rows.len()).collect();
    let mut texts = Vec::with_capacity(rows.len());
    for indices in indices.chunks(BATCH) {
        if interrupted.load(Ordering::Relaxed) {
            return Err(stage::interruption());
        }
        let heard = rows.rows(indices, processor.sample_rate())?;
        let decoded = processor.decode(model, &heard).map_err(|fault| fault.at(rows.path()))?;
        texts.extend(decoded.into_iter().map(|decoded| decoded.text));
        events.event(Event::Progress { done: texts.len() as u64, total: rows.len() as u64, unit: "rows" });
    }
    Ok(texts)
}

/// The texts kept at `path`, if there are `rows` of them; else what `compute` yields, which is kept there.
pub(super) fn kept(path: &Path, rows: usize, compute: impl FnOnce() -> Result<Vec<String>>) -> Result<(Vec<String>, bool)> {
    let stored = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Vec<String>>(&bytes).ok());
    if let Some(texts) = stored.filter(|texts| texts.len() == rows) {
        return Ok((texts, true));
    }
    let texts = compute()?;
    if texts.len() != rows {
        return Err(Fault::internal(format!("{} texts came of {rows} rows", texts.len())));
    }
    disk::write_json(path, &texts)?;
    Ok((texts, false))
}

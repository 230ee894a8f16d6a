//! What is measured about the models of a run: size, speed, memory.

use std::path::Path;

use super::PeakMemory;
use crate::dataset::{Dataset, Rows};
use crate::engine::Engine;
use crate::measure::{self, Effort};
use crate::model;
use crate::report::ModelRecord;
use crate::{Batch, Checkpoint, Fault, Result, disk, folder};

/// Counted runs of each model.
const REPEATS: usize = 9;
/// Tokens decoded in each.
const TOKENS: usize = 24;

/// The sizes of a model, and no measurement yet.
///
/// # Errors
/// A configuration that its family does not read.
pub(super) fn sizes(name: &str, checkpoint: &Checkpoint) -> Result<ModelRecord> {
    let modules = model::family(&checkpoint.config)?.modules(&checkpoint.config)?;
    let masked: usize = checkpoint.masks.values().map(|mask| mask.rows() * mask.cols()).sum();
    let kept: usize = checkpoint.masks.values().map(crate::Mask::kept).sum();
    Ok(ModelRecord {
        name: name.to_owned(),
        parameters: modules.iter().map(model::Module::parameter_count).sum(),
        kept_parameters: kept,
        sparsity: if masked == 0 { 0.0 } else { 1.0 - kept as f64 / masked as f64 },
        bytes_on_disk: 0,
        peak_resident_bytes: None,
        scores: Vec::new(),
        encoder_ms: None,
        decode_tokens_per_second: None,
        kernels: Vec::new(),
    })
}

/// Writes every model into a folder of its own below `scratch`, as it would be exported, and measures its bytes and the memory of a
/// process that runs it with the kernels that the file `tuning` chooses; `told` hears how many of how many are done.
///
/// # Errors
/// A disk that is full, and those of `told`.
pub(super) fn weigh(
    models: &[Checkpoint],
    records: &mut [ModelRecord],
    scratch: &Path,
    tuning: &Path,
    peak_memory: &PeakMemory<'_>,
    told: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    std::fs::create_dir_all(scratch).map_err(|error| Fault::writing(scratch, &error))?;
    for (index, (checkpoint, record)) in models.iter().zip(records).enumerate() {
        let folder = folder::beside(&scratch.join(&record.name))?;
        checkpoint.write_into(folder.path())?;
        record.bytes_on_disk = disk::folder_bytes(folder.path())?;
        record.peak_resident_bytes = peak_memory(folder.path(), tuning);
        told(index + 1, models.len())?;
    }
    Ok(())
}

/// Times all models against each other on the first of `rows`; `told` hears how many of how many runs are done.
///
/// # Errors
/// Sound that cannot be read, and those of `told`.
pub(super) fn time(
    models: &[Checkpoint],
    engines: &[Engine],
    records: &mut [ModelRecord],
    rows: &Rows,
    told: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let Some(first) = models.first() else { return Ok(()) };
    let processor = model::family(&first.config)?.processor(first)?;
    let example = processor.example(&rows.row(0, processor.sample_rate())?)?;
    let start = example.decoder.first().copied().unwrap_or_default();
    let inputs = Batch::of(&[example], processor.pad())?.inputs;
    let built: Vec<&dyn model::Model> = engines.iter().map(|engine| &*engine.model).collect();
    let speeds = measure::speed(&built, &inputs, Effort { repeats: REPEATS, tokens: TOKENS, start }, told)?;
    for (record, speed) in records.iter_mut().zip(speeds) {
        record.encoder_ms = speed.encoder_ms;
        record.decode_tokens_per_second = Some(speed.decode_tokens_per_second);
    }
    Ok(())
}

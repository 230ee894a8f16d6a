//! The shelf of export formats: from a checkpoint to files that other programs load.
//!
//! An export is written whole or not at all, read back by the reader that opens any checkpoint, and compared with the model in memory
//! before it counts as written: what it holds, and the logits that it computes for held-out rows, both bit for bit. It also says what
//! made it: [`RECORD`] holds the recipe, the metrics and a line for each pruned layer.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sparsec_kernels::Pattern;

use crate::checkpoint::{Parameter, masks};
use crate::model::NoTaps;
use crate::report::Score;
use crate::shelf::Shelf;
use crate::{Batch, Checkpoint, Fault, Mask, Result, disk, folder, row, shelved};

pub mod parity;
mod safetensors;

pub use self::safetensors::Safetensors;

/// The record's file name; a folder that holds it is one that we wrote, and may write again.
pub const RECORD: &str = "sparsec.json";

/// Every export format.
pub static EXPORTERS: Shelf<dyn Exporter> = Shelf::new("exporter", &[row!(dyn Exporter, Safetensors)]);
shelved! { dyn Exporter, EXPORTERS }

/// A way to lay out an exported model.
pub trait Exporter: std::fmt::Debug + Send + Sync {
    /// Fills the empty folder `folder`.
    ///
    /// # Errors
    /// A model that the format cannot hold, or a full disk.
    fn fill(&self, checkpoint: &Checkpoint, folder: &Path) -> Result<()>;

    /// Reads what [`Exporter::fill`] wrote.
    ///
    /// # Errors
    /// Files that are not as they were written.
    fn read_back(&self, folder: &Path) -> Result<Checkpoint>;
}

/// Where an exported model comes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The text of the recipe.
    pub recipe: String,
    /// The plan that was made of it: every step with its arguments, defaults filled in.
    pub plan: String,
    /// What the model scored.
    pub metrics: Vec<Score>,
    /// The bars that were missed; none unless the user exported despite them.
    pub missed_bars: Vec<String>,
}

/// What [`RECORD`] says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this program.
    pub version: String,
    /// Where the model comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// How zeros lie.
    pub pattern: String,
    /// BLAKE3 of all masks.
    pub mask_hash: String,
    /// Every pruned layer by module path.
    pub layers: BTreeMap<String, LayerRecord>,
}

/// One pruned layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Share of weights that its mask removes.
    pub sparsity: f64,
    /// Bits of a kept weight.
    pub bits: u8,
}

impl Record {
    fn of(checkpoint: &Checkpoint, provenance: &Provenance) -> Self {
        let layer = |(path, mask): (&String, &Mask)| {
            let bits = if checkpoint.quantized.contains_key(path) { 8 } else { 32 };
            (path.clone(), LayerRecord { shape: [mask.rows(), mask.cols()], sparsity: mask.sparsity(), bits })
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance: provenance.clone(),
            pattern: pattern(checkpoint),
            mask_hash: masks::hash(&checkpoint.masks).to_hex().to_string(),
            layers: checkpoint.masks.iter().map(layer).collect(),
        }
    }
}

/// The pattern that all masks have, such as `2:4`, or else `unstructured`.
fn pattern(checkpoint: &Checkpoint) -> String {
    let mut found = checkpoint.masks.values().map(Pattern::of);
    match found.next() {
        Some(first @ Pattern::Group { .. }) if found.all(|pattern| pattern == first) => first.to_string(),
        _ => "unstructured".to_owned(),
    }
}

/// Writes `checkpoint` to the folder `to` as `exporter` lays it out, reads it back and compares, on `batch` too where there is one.
/// Yields the model as the folder holds it, for the caller to run.
///
/// # Errors
/// When something that is no export of ours is at `to`, the disk fails, or what is read back differs; `to` is then as it was.
pub fn export(
    exporter: &dyn Exporter,
    checkpoint: &Checkpoint,
    provenance: &Provenance,
    batch: Option<&Batch>,
    to: &Path,
) -> Result<Checkpoint> {
    let mut read_back = None;
    folder::write_whole(to, RECORD, |folder| {
        exporter.fill(checkpoint, folder)?;
        disk::write_json(&folder.join(RECORD), &Record::of(checkpoint, provenance))?;
        let read = exporter.read_back(folder)?;
        verify(checkpoint, &read).map_err(|fault| fault.at(to))?;
        batch.map_or(Ok(()), |batch| verify_logits(checkpoint, &read, batch)).map_err(|fault| fault.at(to))?;
        read_back = Some(read);
        Ok(())
    })?;
    read_back.ok_or_else(|| Fault::internal("an export was not read back"))
}

/// Whether `read` is `written`, bit for bit: parameters, integers, scales, masks and companion files.
///
/// # Errors
/// Names the first thing that differs.
pub fn verify(written: &Checkpoint, read: &Checkpoint) -> Result<()> {
    let differs =
        |what: String| Err(Fault::running(format!("{what} came back from the disk changed")).help("the disk may be failing"));
    for (name, parameter) in &written.tensors {
        match read.tensors.get(name) {
            Some(back) if parameter.same_bits(back)? => (),
            _ => return differs(format!("`{name}`")),
        }
    }
    if let Some((path, _)) = written.quantized.iter().find(|(path, weight)| read.quantized.get(*path) != Some(weight)) {
        return differs(format!("the integers of `{path}`"));
    }
    if let Some((path, _)) = written.masks.iter().find(|(path, mask)| read.masks.get(*path) != Some(mask)) {
        return differs(format!("the mask of `{path}`"));
    }
    if let Some((name, _)) = written.companions.iter().find(|(name, bytes)| read.companions.get(*name) != Some(bytes)) {
        return differs(name.clone());
    }
    let counts = |checkpoint: &Checkpoint| (checkpoint.tensors.len(), checkpoint.quantized.len(), checkpoint.masks.len());
    if counts(written) == counts(read) { Ok(()) } else { differs("the list of tensors".to_owned()) }
}

/// Whether `read` computes the logits that `written` computes for `batch`, bit for bit.
///
/// # Errors
/// By how much they differ.
pub fn verify_logits(written: &Checkpoint, read: &Checkpoint, batch: &Batch) -> Result<()> {
    let logits = |checkpoint: &Checkpoint| checkpoint.model()?.forward(batch, &mut NoTaps);
    let (expected, found) = (logits(written)?, logits(read)?);
    if Parameter::from(expected.clone()).same_bits(&found.clone().into())? {
        return Ok(());
    }
    let difference = (expected - found)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    Err(Fault::running(format!("what was written computes other logits than the model in memory, by up to {difference:.1e}"))
        .help("export it again; if it stays so, please report it with the recipe"))
}

#[cfg(test)]
mod tests;

//! `export`: a model leaves for other programs, and is read back before it counts as written.

use std::sync::Arc;

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::dataset::Rows;
use crate::export::{self, Exporter};
use crate::report::ExportRecord;
use crate::shelf::{ModelRef, OutputPath};
use crate::train::Examples;
use crate::{Batch, Checkpoint, Example, Result, disk, word};

/// Held-out rows whose logits are compared.
const COMPARED: usize = 4;
/// Rows that are tried to find so many which fit the model's window.
const TRIED: usize = 64;

word! {
    /// Writes a model for other programs, and reads it back to compare. Waits for every `require` above it.
    pub struct Export = "export"(
        /// The model.
        model: ModelRef,
    ) {
        /// The folder to write, relative to the working directory.
        to: OutputPath,
        /// What it looks like.
        format: Arc<dyn Exporter>,
    }
}

impl Stage for Export {
    const KEPT: bool = false;

    fn word() -> Word {
        word_of::<Self>(Kind::Artifact)
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let checkpoint = work.model(&self.model)?;
        let folder = work.output(&self.to)?;
        let batch = work.inputs.held_out().map_or(Ok(None), |rows| held_out(&checkpoint, rows))?;
        if batch.is_none() {
            work.note("no row was there to compare logits on: only what the artifact holds was compared");
        }
        export::export(&*self.format, &checkpoint, &work.inputs.provenance(self.model.0.step), batch.as_ref(), &folder)?;
        let bytes = disk::folder_bytes(&folder)?;
        Ok(Output::Artifact(ExportRecord { model: String::new(), to: self.to.0.clone(), held_back: None, bytes }))
    }
}

/// The first few of `rows` that fit the model of `checkpoint`; none where none does.
fn held_out(checkpoint: &Checkpoint, rows: Rows) -> Result<Option<Batch>> {
    let mut examples = Examples::new(checkpoint, rows)?;
    let tried = 0..examples.len().min(TRIED);
    let fitting: Vec<Example> = tried.filter_map(|row| examples.get(&[row]).ok()?.pop()).take(COMPARED).collect();
    if fitting.is_empty() { Ok(None) } else { examples.collate(&fitting).map(Some) }
}

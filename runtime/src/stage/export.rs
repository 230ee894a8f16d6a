//! `export`: a model leaves for other programs, and is read back before it counts as written.

use std::sync::Arc;

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::export::{self, Exporter};
use crate::report::ExportRecord;
use crate::shelf::{ModelRef, OutputPath};
use crate::{Result, disk, word};

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
        export::export(&*self.format, &checkpoint, &work.inputs.provenance(self.model.0.step), &folder)?;
        let bytes = disk::folder_bytes(&folder)?;
        Ok(Output::Artifact(ExportRecord { model: String::new(), to: self.to.0.clone(), held_back: None, bytes }))
    }
}

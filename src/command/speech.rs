//! What a model that knows several languages is told before it listens.

use sparsec_runtime::model::family;
use sparsec_runtime::{Checkpoint, Result};
use std::path::Path;

/// The language that is spoken, and what to do with it.
#[derive(clap::Args)]
pub struct Speech {
    /// The language that is spoken, such as `hi` [default: what the artifact says, or what the model hears]
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// What to do with it: `transcribe` or `translate`, or a name in `task_specific_params` of a T5 [default: what the artifact says]
    #[arg(long)]
    task: Option<String>,
}

impl Speech {
    /// The checkpoint in `folder`, told so.
    pub fn checkpoint(&self, folder: &Path) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::read(folder)?;
        if self.language.is_none() && self.task.is_none() {
            return Ok(checkpoint);
        }
        family(&checkpoint.config)?.told(checkpoint, self.language.as_deref(), self.task.as_deref())
    }
}

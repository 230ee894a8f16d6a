//! `initialize`: a model that has learned nothing yet, for training from scratch.

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::shelf::InputPath;
use crate::{Checkpoint, Result, word};

word! {
    /// Draws random weights for a configuration.
    pub struct Initialize = "initialize"(
        /// A folder with `config.json`, the tokenizer and the other companions; weights in it are not read.
        config: InputPath,
    ) {
        /// Another seed draws other weights.
        seed: u64 = 0,
    }
}

impl Stage for Initialize {
    const KEPT: bool = false;

    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_outside()
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        Ok(Output::Model(Checkpoint::initialize(&work.input(&self.config)?, self.seed)?))
    }
}

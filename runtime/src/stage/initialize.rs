//! `initialize`: a model that has learned nothing yet, for training from scratch.

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::shelf::InputPath;
use crate::{Checkpoint, Fault, Result, postcondition, word};

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
        let folder = work.input(&self.config)?;
        let checkpoint = Checkpoint::initialize(&folder, self.seed)?;
        let finite = postcondition::all_finite(&checkpoint);
        finite.map_err(|fault| Fault { help: Some("is `init_std` in config.json right?".to_owned()), ..fault }.at(folder))?;
        Ok(Output::Model(checkpoint))
    }
}

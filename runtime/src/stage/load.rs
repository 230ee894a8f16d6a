//! `load`: a checkpoint folder in Hugging Face layout, as it is.

use std::path::Path;

use sparsec_compiler::{Kind, Value, Word};

use super::{Output, Stage, Work, word_of};
use crate::checkpoint::{self, Header, masks};
use crate::model::{FAMILIES, Module};
use crate::shelf::{InputPath, Parameter, unexpected};
use crate::{Checkpoint, Fault, FaultKind, Result, model, postcondition, word};

word! {
    /// Reads a model from a checkpoint folder in Hugging Face layout, or from the hub.
    pub struct Load = "load"(
        /// The folder, relative to the recipe; where there is none, a model of the hub, `owner/name` or `owner/name@revision`.
        checkpoint: InputPath,
    ) {
        /// The family that the model must belong to; without it, the one that its configuration names.
        family: Option<FamilyName>,
        /// The language that is spoken, such as "hi", for a model that knows several.
        language: Option<String>,
        /// What to do with it, such as "transcribe" or "translate".
        task: Option<String>,
    }
}

/// The word of a model family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyName(pub String);

impl Parameter for FamilyName {
    fn kind() -> Kind {
        Kind::Choice(FAMILIES.iter().map(|family| family.word().to_owned()).collect())
    }

    fn read(value: &Value) -> Result<Self> {
        value.as_name().map(|name| Self(name.to_owned())).ok_or_else(|| unexpected(&Self::kind(), value))
    }
}

impl FamilyName {
    /// Whether a model with this configuration is of the family.
    ///
    /// # Errors
    /// When it is of another, or of none that is known.
    pub fn check(&self, config: &serde_json::Value) -> Result<()> {
        match model::family(config)?.word() {
            found if found == self.0 => Ok(()),
            found => Err(Fault::input(format!("this is a `{found}`, and the recipe says `{}`", self.0))),
        }
    }
}

impl Load {
    /// The modules of the checkpoint in `folder`, from its headers, or from its configuration where the weights are still to come.
    ///
    /// # Errors
    /// A checkpoint that cannot be read, or is of another family.
    pub fn modules(&self, folder: &Path) -> Result<Vec<Module>> {
        let of_family = |config: &serde_json::Value| self.family.as_ref().map_or(Ok(()), |family| family.check(config));
        if Header::is_without_weights(folder) {
            let config = checkpoint::config(folder)?;
            of_family(&config)?;
            return model::family(&config)?.modules(&config).map_err(|fault| fault.at(folder));
        }
        let header = Header::read(folder)?;
        of_family(header.config())?;
        Ok(header.modules().to_vec())
    }
}

/// The fault of a checkpoint from elsewhere: no stage of ours made it so.
fn unusable(fault: Fault) -> Fault {
    Fault { kind: FaultKind::Input, help: Some("download or train the checkpoint again".to_owned()), ..fault }
}

impl Stage for Load {
    const KEPT: bool = false;

    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_outside()
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let (folder, commit) = work.inputs.files().checkpoint(&self.checkpoint.0)?;
        if let Some(commit) = commit {
            work.note(format!("`{}` of the hub, at commit {commit}", self.checkpoint.0));
        }
        let mut checkpoint = Checkpoint::read(&folder)?;
        self.family.as_ref().map_or(Ok(()), |family| family.check(&checkpoint.config)).map_err(|fault| fault.at(&folder))?;
        if self.language.is_some() || self.task.is_some() {
            let family = model::family(&checkpoint.config)?;
            let told = family.told(checkpoint, self.language.as_deref(), self.task.as_deref());
            let file = |fault: &Fault| fault.path.as_ref().map_or(folder.clone(), |name| folder.join(name));
            checkpoint = told.map_err(|fault| Fault { path: Some(file(&fault)), ..fault })?;
        }
        if !checkpoint.masks.is_empty() && !folder.join(masks::FILE).exists() {
            work.note(format!(
                "{} layers have at least 10 % zeros and no masks beside them: these zeros are taken as pruned, and stay zero",
                checkpoint.masks.len()
            ));
        }
        postcondition::all_finite(&checkpoint).map_err(|fault| unusable(fault).at(&folder))?;
        Ok(Output::Model(checkpoint))
    }
}

//! `generation_config.json`: how a checkpoint wants to be decoded, in the words of transformers.

use serde::Deserialize;
use serde_json::Value;

use super::{Beam, Rules, Search, Stopping};
use crate::{Checkpoint, Fault, Result};

/// The file.
pub const FILE: &str = "generation_config.json";
/// What to do about a file that is wrong.
pub const HELP: &str = "use the generation_config.json that came with the checkpoint";

/// The settings of `checkpoint`, and the file that they come from. What the file lacks of `keys` is taken from `config.json`, where
/// checkpoints from before there was a file of its own keep all of it.
///
/// # Errors
/// A file that is no JSON.
pub fn fields(checkpoint: &Checkpoint, keys: &[&str]) -> Result<(&'static str, Value)> {
    if !checkpoint.companions.contains_key(FILE) {
        return Ok(("config.json", checkpoint.config.clone()));
    }
    let mut fields = checkpoint.companion_json(FILE)?;
    for key in keys {
        if fields.get(key).is_none_or(Value::is_null)
            && let (Some(value), Some(fields)) = (checkpoint.config.get(key), fields.as_object_mut())
        {
            fields.insert((*key).to_owned(), value.clone());
        }
    }
    Ok((FILE, fields))
}

/// One or several, such as tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T = u32> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// All of them.
    ///
    /// # Errors
    /// When there is none; `name` is what they are called.
    pub fn all(&self, name: &str) -> Result<Vec<T>> {
        match self {
            Self::One(one) => Ok(vec![one.clone()]),
            Self::Many(many) if many.is_empty() => Err(Fault::input(format!("`{name}` is empty"))),
            Self::Many(many) => Ok(many.clone()),
        }
    }
}

/// The settings that families of text have in common.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Tokens that end a text.
    pub eos_token_id: Option<OneOrMany>,
    /// Strings that end a text and are no part of it.
    pub stop_strings: Option<OneOrMany<String>>,
    /// Fills short texts of a batch.
    pub pad_token_id: Option<u32>,
    /// The decoder's first token.
    pub decoder_start_token_id: Option<u32>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    max_length: Option<usize>,
    max_new_tokens: Option<usize>,
    num_beams: Option<usize>,
    length_penalty: Option<f64>,
    early_stopping: Option<Value>,
}

impl Settings {
    /// Reads the settings of `checkpoint`, whose model has `vocab` tokens; yields the file too, for faults to name.
    ///
    /// # Errors
    /// A setting of another type, or a token that the model does not have.
    pub fn of(checkpoint: &Checkpoint, vocab: usize) -> Result<(&'static str, Self)> {
        let (file, fields) = fields(checkpoint, &["eos_token_id", "pad_token_id", "decoder_start_token_id"])?;
        let settings = Self::deserialize(fields)
            .map_err(|error| Fault::input(format!("the settings of generation do not parse: {error}")).at(file).help(HELP))?;
        let ends = settings.eos_token_id.as_ref().map(|ends| ends.all("eos_token_id")).transpose();
        let ends = ends.map_err(|fault| fault.at(file).help(HELP))?.unwrap_or_default();
        let mut named = ends.iter().chain(&settings.pad_token_id).chain(&settings.decoder_start_token_id);
        match named.find(|&&token| token as usize >= vocab) {
            Some(token) => Err(Fault::input(format!("token {token} is not among the {vocab} of the model")).at(file).help(HELP)),
            None => Ok((file, settings)),
        }
    }

    /// What may be said after a prompt of `prompt` tokens; at most `limit` tokens where the settings name no limit of their own.
    pub fn rules(&self, end: Vec<u32>, prompt: usize, limit: usize) -> Rules {
        let tokens = |ids: &Option<Vec<i64>>| ids.iter().flatten().filter_map(|&id| u32::try_from(id).ok()).collect();
        let max_new = match (self.max_new_tokens, self.max_length) {
            (Some(new), _) => new,
            (None, Some(length)) => length.saturating_sub(prompt),
            (None, None) => limit,
        };
        Rules { suppress: tokens(&self.suppress_tokens), begin_suppress: tokens(&self.begin_suppress_tokens), end, max_new }
    }

    /// How tokens are searched for: greedily, or with as many beams as the settings name.
    ///
    /// # Errors
    /// An `early_stopping` that is none.
    pub fn search(&self) -> Result<Search> {
        let stopping = match &self.early_stopping {
            None | Some(Value::Null | Value::Bool(false)) => Stopping::Heuristic,
            Some(Value::Bool(true)) => Stopping::Early,
            Some(Value::String(word)) if word == "never" => Stopping::Never,
            Some(other) => return Err(Fault::input(format!("`early_stopping` is {other}; it is true, false or \"never\""))),
        };
        Ok(match self.num_beams {
            None | Some(0 | 1) => Search::Greedy,
            Some(beams) => Search::Beam(Beam { beams, length_penalty: self.length_penalty.unwrap_or(1.0), stopping }),
        })
    }
}

//! From a model to the tokens that it says: one file for each way to search for them.
//!
//! A search feeds the prompts, then one token at a time. Prompts may be of several lengths: short ones are padded before, so that all
//! go on together.

mod beam;
mod growing;
mod sampling;
pub mod settings;
mod stepwise;

pub use beam::{Beam, Stopping};
pub use growing::Growing;
pub use sampling::Sampling;

use crate::model::{Encoded, Model};
use crate::{Fault, Result};

/// How the next token is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Search {
    /// The likeliest at every step; of equally likely ones the lowest.
    #[default]
    Greedy,
    /// One that is drawn at every step.
    Sample(Sampling),
    /// Several continuations are followed, and the best is taken at the end.
    Beam(Beam),
}

/// What may be said, and when to stop.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Tokens that are never said.
    pub suppress: Vec<u32>,
    /// Tokens that are not said first.
    pub begin_suppress: Vec<u32>,
    /// Tokens that end a sequence.
    pub end: Vec<u32>,
    /// The most tokens that a sequence says, its prompt not counted and its end token counted.
    pub max_new: usize,
}

/// What is to be said after one prompt.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// How tokens are found.
    pub search: Search,
    /// The most tokens; as many as the checkpoint's settings say where nothing is said.
    pub max_new: Option<usize>,
    /// Strings that end the text, and are no part of it, beside those of the checkpoint's settings.
    pub stop: Vec<String>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The model said so.
    End,
    /// It came to one of the strings that end it.
    Stop,
    /// There was no room for more tokens, or no more were asked for.
    Length,
}

/// Hears the number of a sequence and its next token, and says whether the sequence goes on; its fault ends the search at once.
pub type Told<'a> = &'a mut dyn FnMut(usize, u32) -> Result<bool>;

/// The tokens that `model` says after each of `prompts`, given `encoded`; prompt and end token excluded.
///
/// # Errors
/// When there are not as many prompts as sequences, a prompt is empty, or a logit is not a number.
pub fn generate(
    model: &dyn Model,
    encoded: Option<&Encoded>,
    prompts: &[Vec<u32>],
    rules: &Rules,
    search: &Search,
) -> Result<Vec<Vec<u32>>> {
    generate_telling(model, encoded, prompts, rules, search, &mut |_, _| Ok(true))
}

/// As [`generate`]; where tokens are found one after the other, `told` hears of each.
///
/// # Errors
/// As [`generate`], and those of `told`.
pub fn generate_telling(
    model: &dyn Model,
    encoded: Option<&Encoded>,
    prompts: &[Vec<u32>],
    rules: &Rules,
    search: &Search,
    told: Told<'_>,
) -> Result<Vec<Vec<u32>>> {
    if encoded.is_some_and(|encoded| encoded.batch() != prompts.len()) || prompts.iter().any(Vec::is_empty) {
        return Err(Fault::internal("decoding needs one prompt for each sequence, and a token in each"));
    }
    match search {
        Search::Greedy => stepwise::stepwise(model, encoded, prompts, rules, None, told),
        Search::Beam(beam) => beam::search(model, encoded, prompts, rules, *beam),
        Search::Sample(sampling) => stepwise::stepwise(model, encoded, prompts, rules, Some(sampling.checked()?), told),
    }
}

/// Makes the tokens that the rules forbid infinitely unlikely.
///
/// # Errors
/// A logit that is not a number.
fn allowed(logits: &mut [f32], rules: &Rules, is_first: bool) -> Result<()> {
    check(logits)?;
    forbid(logits, rules, is_first);
    Ok(())
}

/// Every logit is a number.
fn check(logits: &[f32]) -> Result<()> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return Err(Fault::running("the model's output is not a number").help("its weights diverged; lower the learning rate"));
    }
    Ok(())
}

fn forbid(logits: &mut [f32], rules: &Rules, is_first: bool) {
    let begin = rules.begin_suppress.iter().filter(|_| is_first);
    for &token in rules.suppress.iter().chain(begin) {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// The one of `tokens` with the highest logit, the first of several.
pub fn likeliest(logits: &[f32], tokens: impl IntoIterator<Item = u32>) -> Option<u32> {
    let known = tokens.into_iter().filter_map(|token| Some((token, *logits.get(token as usize)?)));
    known.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(token, _)| token)
}

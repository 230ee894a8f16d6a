//! From a model to the tokens that it says: one file for each way to search for them.
//!
//! A search feeds the prompts, then one token at a time. Prompts may be of several lengths: short ones are padded before, so that all
//! go on together.

mod greedy;
pub mod settings;

use crate::model::{Encoded, Model};
use crate::{Fault, Result};

/// How the next token is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Search {
    /// The likeliest at every step; of equally likely ones the lowest.
    #[default]
    Greedy,
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
    if encoded.is_some_and(|encoded| encoded.batch() != prompts.len()) || prompts.iter().any(Vec::is_empty) {
        return Err(Fault::internal("decoding needs one prompt for each sequence, and a token in each"));
    }
    match search {
        Search::Greedy => greedy::greedy(model, encoded, prompts, rules),
    }
}

/// Makes the tokens that the rules forbid infinitely unlikely.
///
/// # Errors
/// A logit that is not a number.
fn allowed(logits: &mut [f32], rules: &Rules, is_first: bool) -> Result<()> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return Err(Fault::running("the model's output is not a number").help("its weights diverged; lower the learning rate"));
    }
    let begin = rules.begin_suppress.iter().filter(|_| is_first);
    for &token in rules.suppress.iter().chain(begin) {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
    Ok(())
}

/// The one of `tokens` with the highest logit, the first of several.
pub fn likeliest(logits: &[f32], tokens: impl IntoIterator<Item = u32>) -> Option<u32> {
    let known = tokens.into_iter().filter_map(|token| Some((token, *logits.get(token as usize)?)));
    known.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(token, _)| token)
}

//! Greedy decoding of a batch: at every step the likeliest token of each sequence.
//!
//! Sequences that have ended leave the batch, so that a long one does not pay for its short neighbours.

use candle_core::Tensor;

use crate::batch::Tokens;
use crate::model::Model;
use crate::{Fault, Result};

/// What may be said, and when to stop.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Tokens that are never said.
    pub suppress: Vec<u32>,
    /// Tokens that are not said first.
    pub begin_suppress: Vec<u32>,
    /// Tokens that end a sequence.
    pub end: Vec<u32>,
    /// Tokens of a sequence, its prompt included.
    pub max_length: usize,
}

/// The tokens that `model` says after each of `prompts`, all of one length, given `encoded` `[batch, positions, width]`; prompt and
/// end token excluded. Of equal logits the lowest token wins.
///
/// # Errors
/// When there are not as many prompts as sequences, prompts are empty or of several lengths, or a logit is not a number.
pub fn greedy(model: &dyn Model, encoded: &Tensor, prompts: &[Vec<u32>], rules: &Rules) -> Result<Vec<Vec<u32>>> {
    let length = prompts.first().map_or(0, Vec::len);
    if prompts.len() != encoded.dim(0)? || length == 0 || prompts.iter().any(|prompt| prompt.len() != length) {
        return Err(Fault::internal("greedy decoding needs one prompt for each sequence, all of one length"));
    }
    let mut said = vec![Vec::new(); prompts.len()];
    let mut live: Vec<usize> = (0..prompts.len()).collect();
    let mut cache = model.start(encoded)?;
    let mut tokens = Tokens::padded(prompts, 0);
    for time in length..rules.max_length {
        let logits = model.step(&tokens, cache.as_mut())?.to_vec2::<f32>()?;
        let is_first = time == length;
        let next = logits.into_iter().map(|row| choose(row, rules, is_first)).collect::<Result<Vec<u32>>>()?;
        let unfinished: Vec<usize> = (0..live.len()).filter(|&at| !rules.end.contains(&next[at])).collect();
        for &at in &unfinished {
            said[live[at]].push(next[at]);
        }
        if unfinished.is_empty() {
            break;
        }
        if unfinished.len() < live.len() {
            cache.select(&unfinished)?;
            live = unfinished.iter().map(|&at| live[at]).collect();
        }
        tokens = Tokens::column(unfinished.iter().map(|&at| next[at]).collect());
    }
    Ok(said)
}

/// The likeliest token that the rules allow.
fn choose(mut logits: Vec<f32>, rules: &Rules, is_first: bool) -> Result<u32> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return Err(Fault::running("the model's output is not a number").help("its weights diverged; lower the learning rate"));
    }
    let begin = rules.begin_suppress.iter().filter(|_| is_first);
    for &token in rules.suppress.iter().chain(begin) {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
    likeliest(&logits, 0..logits.len() as u32).ok_or_else(|| Fault::internal("no token to choose from"))
}

/// The one of `tokens` with the highest logit, the first of several.
pub fn likeliest(logits: &[f32], tokens: impl IntoIterator<Item = u32>) -> Option<u32> {
    let known = tokens.into_iter().filter_map(|token| Some((token, *logits.get(token as usize)?)));
    known.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(token, _)| token)
}

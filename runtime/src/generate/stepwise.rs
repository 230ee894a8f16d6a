//! One token after the other for a batch: the likeliest of each sequence, or one that is drawn.
//!
//! Sequences that have ended leave the batch, so that a long one does not pay for its short neighbours.

use super::sampling::{Sampler, Sampling};
use super::{Rules, Told, allowed, likeliest};
use crate::batch::Tokens;
use crate::model::{Encoded, Model};
use crate::op::Values;
use crate::{Fault, Result};

/// The tokens that `model` says after each of `prompts`, given `encoded`: drawn as `sampling` says, or the likeliest. `told` hears of
/// every token, and whether its sequence goes on.
pub(super) fn stepwise(
    model: &dyn Model,
    encoded: Option<&Encoded>,
    prompts: &[Vec<u32>],
    rules: &Rules,
    sampling: Option<Sampling>,
    told: Told<'_>,
) -> Result<Vec<Vec<u32>>> {
    let mut samplers: Option<Vec<Sampler>> =
        sampling.map(|sampling| prompts.iter().map(|prompt| Sampler::new(sampling, prompt)).collect());
    let mut said = vec![Vec::new(); prompts.len()];
    let mut live: Vec<usize> = (0..prompts.len()).collect();
    let mut cache = model.start(encoded)?;
    let mut tokens = Tokens::padded_before(prompts, 0);
    let (mut row, mut unfinished, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for time in 0..rules.max_new {
        let logits = model.step(&tokens, cache.as_mut())?;
        let (values, vocab) = (Values::of(&logits)?, logits.dim(1)?);
        unfinished.clear();
        next.clear();
        for (at, (&sequence, logits)) in live.iter().zip(values.chunks_exact(vocab.max(1))).enumerate() {
            row.clear();
            row.extend_from_slice(logits);
            allowed(&mut row, rules, time == 0)?;
            let token = match &mut samplers {
                Some(samplers) => samplers[sequence].draw(&row),
                None => likeliest(&row, 0..row.len() as u32),
            };
            let token = token.ok_or_else(|| Fault::internal("no token to choose from"))?;
            if rules.end.contains(&token) {
                continue;
            }
            said[sequence].push(token);
            if told(sequence, token)? {
                unfinished.push(at);
                next.push(token);
            }
        }
        if unfinished.is_empty() {
            break;
        }
        if unfinished.len() < live.len() {
            cache.select(&unfinished)?;
            live = unfinished.iter().map(|&at| live[at]).collect();
        }
        tokens.set_column(&next);
    }
    Ok(said)
}

//! Greedy decoding of a batch: at every step the likeliest token of each sequence.
//!
//! Sequences that have ended leave the batch, so that a long one does not pay for its short neighbours.

use super::{Rules, allowed, likeliest};
use crate::batch::Tokens;
use crate::model::{Encoded, Model};
use crate::{Fault, Result};

/// The tokens that `model` says after each of `prompts`, given `encoded`.
pub(super) fn greedy(model: &dyn Model, encoded: Option<&Encoded>, prompts: &[Vec<u32>], rules: &Rules) -> Result<Vec<Vec<u32>>> {
    let mut said = vec![Vec::new(); prompts.len()];
    let mut live: Vec<usize> = (0..prompts.len()).collect();
    let mut cache = model.start(encoded)?;
    let mut tokens = Tokens::padded_before(prompts, 0);
    for time in 0..rules.max_new {
        let logits = model.step(&tokens, cache.as_mut())?.to_vec2::<f32>()?;
        let choose = |mut row: Vec<f32>| {
            allowed(&mut row, rules, time == 0)?;
            likeliest(&row, 0..row.len() as u32).ok_or_else(|| Fault::internal("no token to choose from"))
        };
        let next = logits.into_iter().map(choose).collect::<Result<Vec<u32>>>()?;
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

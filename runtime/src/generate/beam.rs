//! Beam search, with the scores and the end of transformers: a sequence that ended scores its log-probability over a power of its
//! length, and the search for it ends when no beam can do better than the worst that is kept.
//!
//! At every step the likeliest continuations of all beams are taken, twice as many as there are beams (or more, where several tokens
//! end a text), so that enough remain to go on with when those at the top end. Only those among the first `beams` may end.

use super::{Rules, check, forbid};
use crate::batch::Tokens;
use crate::model::{Encoded, Model};
use crate::{Fault, Result};

/// How a beam search runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// Sequences that are followed, and kept when they ended.
    pub beams: usize,
    /// The power of the length that a score is divided by: above 0 longer sequences win more often, below 0 shorter ones.
    pub length_penalty: f64,
    /// When to stop.
    pub stopping: Stopping,
}

/// When the search for one sequence ends, once as many ended as there are beams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopping {
    /// When the best beam, were it to end now, is no better than the worst that is kept: `early_stopping: false`.
    #[default]
    Heuristic,
    /// At once: `early_stopping: true`.
    Early,
    /// When no beam can become better than the worst that is kept: `early_stopping: "never"`.
    Never,
}

/// The best sequence that `beam` finds after each of `prompts`, given `encoded`.
pub(super) fn search(
    model: &dyn Model,
    encoded: Option<&Encoded>,
    prompts: &[Vec<u32>],
    rules: &Rules,
    beam: Beam,
) -> Result<Vec<Vec<u32>>> {
    let mut said = vec![Vec::new(); prompts.len()];
    let mut cache = model.start(encoded)?;
    let mut tokens = Tokens::padded_before(prompts, 0);
    let mut live: Vec<Sentence> = (0..prompts.len()).map(Sentence::new).collect();
    for time in 0..rules.max_new {
        let mut logits = model.step(&tokens, cache.as_mut())?.to_vec2::<f32>()?;
        for row in &mut logits {
            log_softmax(row)?;
            forbid(row, rules, time == 0);
        }
        let mut rows = logits.into_iter();
        let mut first = 0;
        let (mut kept, mut next) = (Vec::new(), Vec::new());
        let mut unfinished = Vec::new();
        for mut sentence in live {
            let of_beams: Vec<Vec<f32>> = rows.by_ref().take(sentence.running.len()).collect();
            let parents = sentence.advance(&of_beams, time, rules, beam);
            if sentence.is_done(time, rules, beam) {
                let index = sentence.index;
                said[index] = sentence.best();
            } else {
                kept.extend(parents.into_iter().map(|parent| first + parent));
                next.extend(sentence.running.iter().filter_map(|running| running.tokens.last().copied()));
                unfinished.push(sentence);
            }
            first += of_beams.len();
        }
        live = unfinished;
        if live.is_empty() {
            break;
        }
        cache.select(&kept)?;
        tokens = Tokens::column(next);
    }
    Ok(said)
}

/// A sequence that is followed or was ended, without its prompt.
#[derive(Clone, Debug)]
struct Sequence {
    tokens: Vec<u32>,
    /// The sum of its tokens' log-probabilities; divided by the power of its length where it ended.
    score: f32,
}

/// One prompt's search.
struct Sentence {
    /// Which prompt.
    index: usize,
    /// The beams, the likeliest first.
    running: Vec<Sequence>,
    /// The best that ended, the best first.
    ended: Vec<Sequence>,
    /// Whether a beam may still become better than what is kept.
    is_open: bool,
}

impl Sentence {
    fn new(index: usize) -> Self {
        let empty = Sequence { tokens: Vec::new(), score: 0.0 };
        Self { index, running: vec![empty], ended: Vec::new(), is_open: true }
    }

    /// Takes the step behind `time` tokens, given the log-probabilities that follow each beam; yields for each new beam the one that it
    /// goes on from.
    fn advance(&mut self, log_probabilities: &[Vec<f32>], time: usize, rules: &Rules, beam: Beam) -> Vec<usize> {
        let vocab = log_probabilities.first().map_or(0, Vec::len);
        let followed = log_probabilities.iter().zip(&self.running).enumerate().flat_map(|(at, (row, running))| {
            let scores = row.iter().enumerate().filter(|(_, log_probability)| log_probability.is_finite());
            scores.map(move |(token, log_probability)| (at * vocab + token, running.score + log_probability))
        });
        let best = likeliest(followed, beam.beams * (1 + rules.end.len()).max(2));
        let is_last = time + 1 >= rules.max_new;
        let (mut parents, mut running) = (Vec::new(), Vec::new());
        let is_full = beam.stopping == Stopping::Early && self.ended.len() == beam.beams;
        for (rank, (at, score)) in best.into_iter().enumerate() {
            let (parent, token) = (at / vocab, (at % vocab) as u32);
            let is_end = rules.end.contains(&token);
            let mut tokens = self.running[parent].tokens.clone();
            if !is_end {
                tokens.push(token);
            }
            if !is_end && !is_last {
                if running.len() < beam.beams {
                    parents.push(parent);
                    running.push(Sequence { tokens, score });
                }
            } else if rank < beam.beams && self.is_open && !is_full {
                self.ended.push(Sequence { tokens, score: score / power(time + 1, beam) });
            }
        }
        self.running = running;
        // Stable: of equal scores the one that ended first stays before.
        self.ended.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.ended.truncate(beam.beams);
        parents
    }

    /// Whether nothing that may still come is wanted.
    fn is_done(&mut self, time: usize, rules: &Rules, beam: Beam) -> bool {
        let Some(likeliest) = self.running.first() else { return true };
        let is_full = self.ended.len() == beam.beams;
        let hoped = if beam.stopping == Stopping::Never && beam.length_penalty > 0.0 { rules.max_new } else { time + 1 };
        let worst = self.ended.last().map_or(f32::NEG_INFINITY, |worst| worst.score);
        self.is_open &= !is_full || likeliest.score / power(hoped, beam) > worst;
        !self.is_open || is_full && beam.stopping == Stopping::Early
    }

    /// The tokens of the best that ended.
    fn best(self) -> Vec<u32> {
        self.ended.into_iter().next().map(|best| best.tokens).unwrap_or_default()
    }
}

/// What the score of a sequence of `length` tokens is divided by.
fn power(length: usize, beam: Beam) -> f32 {
    (length as f64).powf(beam.length_penalty) as f32
}

/// The `count` largest of `scores`, the largest first, of equal ones the first.
fn likeliest(scores: impl Iterator<Item = (usize, f32)>, count: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::new();
    for (at, score) in scores {
        if best.len() < count || best.last().is_some_and(|(_, least)| score > *least) {
            let place = best.partition_point(|(_, known)| *known >= score);
            best.insert(place, (at, score));
            best.truncate(count);
        }
    }
    best
}

/// Turns logits into log-probabilities.
///
/// # Errors
/// A logit that is not a number.
fn log_softmax(row: &mut [f32]) -> Result<()> {
    check(row)?;
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    if !sum.is_finite() || sum == 0.0 {
        return Err(Fault::running("the model's output is infinite").help("its weights diverged; lower the learning rate"));
    }
    // First the largest: added to it, the logarithm of the sum would lose its last digits where logits are large.
    let log_sum = sum.ln() as f32;
    row.iter_mut().for_each(|logit| *logit = *logit - largest - log_sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_in_order_and_the_first_of_equal_ones_first() {
        let scores = [0.5, -1.0, 2.0, 0.5, 2.0, f32::NEG_INFINITY].into_iter().enumerate();
        assert_eq!(likeliest(scores.clone(), 3), [(2, 2.0), (4, 2.0), (0, 0.5)]);
        assert_eq!(likeliest(scores, 9).len(), 6);
    }

    #[test]
    fn probabilities_sum_to_one_and_what_is_no_number_is_a_fault() {
        let mut row = [1000.0, 1001.0, 999.0];
        log_softmax(&mut row).unwrap();
        assert!((row.iter().map(|log| log.exp()).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(log_softmax(&mut [0.0, f32::NAN]).is_err() && log_softmax(&mut [f32::INFINITY, 0.0]).is_err());
    }
}

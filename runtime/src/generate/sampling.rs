//! Drawing the next token from the model's distribution, narrowed first: temperature, then the `k` likeliest (Fan et al., arXiv
//! 1805.04833), then the nucleus (Holtzman et al., arXiv 1904.09751), in the order of transformers.

use std::cmp::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Fault, Result};

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it: below 1 the likely becomes likelier, above 1 less so.
    pub temperature: f64,
    /// Only so many of the likeliest tokens may be drawn; all where nothing is said.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this share of the probability may be drawn, at least one.
    pub top_p: f64,
    /// The same seed draws the same continuation of the same prompt.
    pub seed: u64,
}

impl Sampling {
    /// The settings, if one can draw with them.
    ///
    /// # Errors
    /// A temperature or a share that is not positive, no token to draw from.
    pub fn checked(self) -> Result<Self> {
        let is_positive = |value: f64| value > 0.0 && value.is_finite();
        let objection = match self {
            Self { temperature, .. } if !is_positive(temperature) => format!("a temperature of {temperature} is not above 0"),
            Self { top_p, .. } if !is_positive(top_p) || top_p > 1.0 => {
                format!("a share of {top_p} is not above 0 and at most 1")
            }
            Self { top_k: Some(0), .. } => "no token can be drawn from the likeliest 0".to_owned(),
            _ => return Ok(self),
        };
        Err(Fault::input(objection))
    }
}

/// Draws the tokens of one sequence.
pub(super) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// What is drawn after `prompt` depends on it and on the seed, and not on the neighbours in a batch.
    pub(super) fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&sampling.seed.to_le_bytes());
        for token in prompt {
            hasher.update(&token.to_le_bytes());
        }
        Self { sampling, random: ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()) }
    }

    /// A token drawn by its `logits`, none of which is NaN; none where all are forbidden.
    pub(super) fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let candidates = candidates(logits, &self.sampling);
        let mut left = self.random.random::<f64>() * candidates.iter().map(|&(_, weight)| weight).sum::<f64>();
        let drawn = candidates.iter().find(|&&(_, weight)| {
            left -= weight;
            left < 0.0
        });
        drawn.or(candidates.last()).map(|&(token, _)| token)
    }
}

/// The tokens that may be drawn, likeliest first, with their weights.
fn candidates(logits: &[f32], sampling: &Sampling) -> Vec<(u32, f64)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&token| logits[token as usize] > f32::NEG_INFINITY).collect();
    let likelier = |a: &u32, b: &u32| -> Ordering { logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)) };
    let count = sampling.top_k.map_or(order.len(), |count| count.min(order.len()));
    if count < order.len() {
        order.select_nth_unstable_by(count, likelier);
        order.truncate(count);
    }
    order.sort_unstable_by(likelier);
    let Some(&first) = order.first() else { return Vec::new() };
    let highest = f64::from(logits[first as usize]);
    let weight = |&token: &u32| ((f64::from(logits[token as usize]) - highest) / sampling.temperature).exp();
    let mut weighted: Vec<(u32, f64)> = order.iter().map(|token| (*token, weight(token))).collect();
    let enough = sampling.top_p * weighted.iter().map(|&(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let short = weighted.iter().take_while(|&&(_, weight)| {
        sum += weight;
        sum < enough
    });
    let nucleus = (short.count() + 1).min(weighted.len());
    weighted.truncate(nucleus);
    weighted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: None, top_p: 1.0, seed: 7 };

    fn tokens(logits: &[f32], sampling: Sampling) -> Vec<u32> {
        candidates(logits, &sampling).into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn the_likeliest_are_kept_and_ties_go_to_the_lower_token() {
        let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, 2.0];
        assert_eq!(tokens(&logits, PLAIN), [1, 3, 4, 0]);
        assert_eq!(tokens(&logits, Sampling { top_k: Some(2), ..PLAIN }), [1, 3]);
        assert_eq!(tokens(&logits, Sampling { top_k: Some(1), ..PLAIN }), [1]);
        assert_eq!(tokens(&logits, Sampling { top_p: 1e-9, ..PLAIN }), [1], "one is always left");
        assert!(tokens(&[f32::NEG_INFINITY], PLAIN).is_empty());
    }

    /// Probabilities 0.5, 0.25, 0.125, 0.125: the values of transformers' warpers.
    #[test]
    fn the_nucleus_is_the_least_that_holds_the_share_after_temperature_and_top_k() {
        let logits = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
        assert_eq!(tokens(&logits, Sampling { top_p: 0.49, ..PLAIN }), [1]);
        assert_eq!(tokens(&logits, Sampling { top_p: 0.7, ..PLAIN }), [1, 3]);
        assert_eq!(tokens(&logits, Sampling { top_p: 0.8, ..PLAIN }), [1, 3, 0]);
        // Of 0.5 and 0.25 alone the first has two thirds; at a high temperature all are alike.
        assert_eq!(tokens(&logits, Sampling { top_k: Some(2), top_p: 0.66, ..PLAIN }), [1]);
        assert_eq!(tokens(&logits, Sampling { temperature: 1e9, top_p: 0.7, ..PLAIN }), [1, 3, 0]);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely_and_the_same_again() {
        let logits = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
        let draw = |seed: u64| {
            let mut sampler = Sampler::new(Sampling { seed, ..PLAIN }, &[1, 2]);
            (0..8000).map(|_| sampler.draw(&logits).unwrap()).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        for (token, share) in [0.125, 0.5, 0.125, 0.25].into_iter().enumerate() {
            let found = drawn.iter().filter(|&&found| found as usize == token).count() as f64 / 8000.0;
            assert!((found - share).abs() < 0.02, "token {token} was drawn {found} of the time");
        }
        assert!(drawn == draw(7) && drawn != draw(8));
        let other = Sampler::new(PLAIN, &[1, 3]).random;
        assert_ne!(other, Sampler::new(PLAIN, &[1, 2]).random, "another prompt, other draws");
        assert_eq!(Sampler::new(PLAIN, &[]).draw(&[f32::NEG_INFINITY]), None);
    }

    #[test]
    fn settings_that_nothing_can_be_drawn_with_are_faults() {
        for wrong in [
            Sampling { temperature: 0.0, ..PLAIN },
            Sampling { temperature: f64::NAN, ..PLAIN },
            Sampling { top_p: 0.0, ..PLAIN },
            Sampling { top_p: 1.5, ..PLAIN },
            Sampling { top_k: Some(0), ..PLAIN },
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
        }
        assert_eq!(PLAIN.checked().unwrap(), PLAIN);
    }

    proptest! {
        /// The plain reference sorts everything, and narrows by looking at each token.
        #[test]
        fn candidates_are_those_of_the_reference(
            logits in prop::collection::vec(-9f32..9.0, 1..40), top_k in prop::option::of(1usize..50), top_p in 0.01f64..1.0, temperature in 0.1f64..4.0
        ) {
            let sampling = Sampling { temperature, top_k, top_p, seed: 0 };
            let mut sorted: Vec<usize> = (0..logits.len()).collect();
            sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            sorted.truncate(top_k.unwrap_or(usize::MAX));
            let power = |&at: &usize| (f64::from(logits[at]) / temperature).exp();
            let all: f64 = sorted.iter().map(power).sum();
            let before = |place: usize| sorted[..place].iter().map(power).sum::<f64>() / all;
            // A share that a rounding error decides is nobody's claim.
            prop_assume!((0..sorted.len()).all(|place| (before(place) - top_p).abs() > 1e-9));
            let expected: Vec<u32> = (0..sorted.len()).filter(|&place| before(place) < top_p).map(|place| sorted[place] as u32).collect();
            prop_assert_eq!(tokens(&logits, sampling), expected);
        }
    }
}

//! Timing candidates against each other: in turns, so that a busy moment of the machine hits all of them, and by the median.

use std::time::{Duration, Instant};

use crate::Operands;
use crate::error::Result;
use crate::format::Compressed;
use crate::testing::random_values;

/// How long candidates are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Race {
    /// Fewest rounds.
    pub(crate) rounds: usize,
    /// Rounds go on until so much time has passed.
    pub(crate) at_least: Duration,
}

/// Sorted milliseconds of each candidate for `tokens` rows of random activations.
///
/// # Errors
/// When a candidate has another shape than the first.
pub(crate) fn race(candidates: &[&dyn Compressed], tokens: usize, race: Race) -> Result<Vec<Vec<f64>>> {
    let Some(first) = candidates.first() else { return Ok(Vec::new()) };
    let (rows, cols) = (first.mask().rows(), first.mask().cols());
    let x = random_values(tokens * cols, 1);
    let mut y = vec![0.0; tokens * rows];
    let mut times = vec![Vec::new(); candidates.len()];
    let start = Instant::now();
    // The first round warms caches and pages up, and is not counted.
    for round in 0.. {
        if round > race.rounds && start.elapsed() >= race.at_least {
            break;
        }
        for (candidate, times) in candidates.iter().zip(&mut times) {
            let start = Instant::now();
            candidate.product(&mut Operands::new(&x, &mut y, tokens, rows, cols)?)?;
            if round > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    Ok(times)
}

/// The median of each candidate of a [`race`].
///
/// # Errors
/// As for [`race`].
pub(crate) fn medians_ms(candidates: &[&dyn Compressed], tokens: usize, how: Race) -> Result<Vec<f64>> {
    Ok(race(candidates, tokens, how)?.iter().map(|times| times[times.len() / 2]).collect())
}

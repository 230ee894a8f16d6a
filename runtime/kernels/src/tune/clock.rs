//! Timing candidates against each other: in turns, so that a busy moment of the machine hits all of them, and by the median.
//!
//! With one thread, its own processor time counts, so that other programs on the same cores do not; with more, time on the wall.

use std::time::{Duration, Instant};

use crate::Operands;
use crate::buffer::Aligned;
use crate::cpu::Eviction;
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
    /// Whether the caches are emptied before a candidate runs, so that its weights come from memory.
    pub(crate) from_memory: bool,
}

/// Sorted milliseconds of each candidate for `tokens` rows of random activations. A candidate is one matrix or a chain of them, all
/// of one shape, and its time that of one matrix.
///
/// # Errors
/// When a matrix has another shape than the first.
pub(crate) fn race(candidates: &[Vec<&dyn Compressed>], tokens: usize, how: Race) -> Result<Vec<Vec<f64>>> {
    let Some(first) = candidates.iter().flatten().next() else { return Ok(Vec::new()) };
    let (rows, cols) = (first.mask().rows(), first.mask().cols());
    let x = random_values(tokens * cols, 1);
    let mut y = Aligned::zeros(tokens * rows);
    let mut times = vec![Vec::new(); candidates.len()];
    let clock = Clock::for_pool();
    let eviction = how.from_memory.then(Eviction::new);
    let start = Instant::now();
    // The first round warms caches and pages up, and is not counted.
    for round in 0.. {
        if round > how.rounds && start.elapsed() >= how.at_least {
            break;
        }
        for (chain, times) in candidates.iter().zip(&mut times) {
            eviction.iter().for_each(Eviction::run);
            let start = clock.seconds();
            for matrix in chain {
                matrix.product(&mut Operands::new(&x, &mut y, tokens, rows, cols)?)?;
            }
            if round > 0 {
                times.push((clock.seconds() - start) * 1e3 / chain.len() as f64);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    Ok(times)
}

/// A clock whose differences are the time that work took.
pub(crate) enum Clock {
    /// Since this moment.
    Wall(Instant),
    /// Processor time of the current thread.
    #[cfg(unix)]
    Thread,
}

impl Clock {
    /// The clock of the current pool: with one thread, work runs on the thread that asks for it.
    pub(crate) fn for_pool() -> Self {
        #[cfg(unix)]
        if rayon::current_num_threads() == 1 {
            return Self::Thread;
        }
        Self::Wall(Instant::now())
    }

    /// Seconds since some moment.
    pub(crate) fn seconds(&self) -> f64 {
        match self {
            Self::Wall(start) => start.elapsed().as_secs_f64(),
            #[cfg(unix)]
            Self::Thread => {
                let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: `time` is a valid place for the result; the call has no other effect.
                unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
                time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
            }
        }
    }
}

//! Runs of words or characters that two texts share: what `bleu` and `chrf` count.

use std::collections::HashMap;
use std::hash::Hash;

/// The runs of some length in a text, each with how often it occurs.
pub(super) struct Runs<'a, T>(HashMap<&'a [T], usize>);

impl<'a, T: Eq + Hash> Runs<'a, T> {
    /// The runs of `length` items.
    pub(super) fn of(items: &'a [T], length: usize) -> Self {
        let mut runs = HashMap::new();
        items.windows(length).for_each(|run| *runs.entry(run).or_default() += 1);
        Self(runs)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// How many of them `reference` has too, each at most as often as it occurs there.
    pub(super) fn shared(&self, reference: &Self) -> usize {
        self.0.iter().map(|(run, &times)| times.min(reference.0.get(run).copied().unwrap_or(0))).sum()
    }
}

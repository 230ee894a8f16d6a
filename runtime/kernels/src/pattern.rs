//! Regular ways in which the kept weights of a mask lie: blocks, or so many of each group of columns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::testing::random_values;
use crate::{KernelError, Mask};

/// How kept weights lie. Blocks and groups begin at multiples of their size; those at the edge of a matrix are cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Anywhere.
    #[default]
    Uniform,
    /// Blocks of `rows` by `cols` weights are kept or pruned as one. Written `1x4`.
    Block {
        /// Outputs of a block.
        rows: usize,
        /// Inputs of a block.
        cols: usize,
    },
    /// Of `group` inputs that follow each other, at most `kept` are kept in each row. Written `2:4`.
    Group {
        /// Weights that are kept.
        kept: usize,
        /// Weights of a group.
        group: usize,
    },
}

/// Blocks of `rows` by `cols`.
const fn block(rows: usize, cols: usize) -> Pattern {
    Pattern::Block { rows, cols }
}

/// `kept` of each `group`.
const fn group(kept: usize, group: usize) -> Pattern {
    Pattern::Group { kept, group }
}

/// Every `step`th bit of a word.
const fn every(step: usize) -> u64 {
    u64::MAX / ((1 << step) - 1)
}

impl Pattern {
    /// Those that formats look for, the most regular first.
    pub const KNOWN: [Self; 7] = [block(16, 1), block(4, 1), block(1, 4), group(2, 4), group(4, 8), group(16, 32), group(16, 64)];

    /// Share of the places for kept weights that must hold one before groups count as a pattern: a very sparse mask has few in
    /// each group by chance.
    const FULL: f64 = 0.9;

    /// The first of [`Pattern::KNOWN`] that a mask has, or else [`Pattern::Uniform`].
    pub fn of(mask: &Mask) -> Self {
        Self::KNOWN.into_iter().find(|pattern| pattern.holds(mask)).unwrap_or_default()
    }

    /// Whether `mask` has this pattern.
    pub fn holds(self, mask: &Mask) -> bool {
        match self {
            Self::Uniform => true,
            Self::Block { rows, cols } => (0..mask.rows()).all(|row| {
                // The first column of each block decides for the others.
                let spread = |word: u64| (word & every(cols)) * ((1 << cols) - 1);
                let (words, first) = (mask.row(row), mask.row(row - row % rows));
                let (last, whole) = (mask.cols() % 64, mask.cols() / 64);
                let is_inside = |word: usize| if word < whole { u64::MAX } else { (1 << last) - 1 };
                words == first && words.iter().enumerate().all(|(at, word)| *word == spread(*word) & is_inside(at))
            }),
            Self::Group { kept, group } => {
                let starts = (0..mask.cols()).step_by(group);
                let places: usize = starts.clone().map(|start| kept.min(mask.cols() - start)).sum();
                mask.kept() as f64 >= Self::FULL * (places * mask.rows()) as f64
                    && (0..mask.rows()).all(|row| {
                        let in_group =
                            |start: usize| (start..(start + group).min(mask.cols())).filter(|col| mask.keeps(row, *col)).count();
                        starts.clone().all(|start| in_group(start) <= kept)
                    })
            }
        }
    }

    /// The share of weights that is kept where `density` is asked for: groups decide it themselves.
    pub fn density(self, density: f64) -> f64 {
        if let Self::Group { kept, group } = self { kept as f64 / group as f64 } else { density }
    }

    /// A random mask with this pattern, decided by `seed`, that keeps about [`Pattern::density`] of the weights.
    pub fn mask(self, rows: usize, cols: usize, density: f64, seed: u64) -> Mask {
        let (height, width) = if let Self::Block { rows, cols } = self { (rows, cols) } else { (1, 1) };
        let per_row = cols.div_ceil(width);
        let draws = random_values(rows.div_ceil(height) * per_row, seed);
        let draw = |row: usize, col: usize| draws[row / height * per_row + col / width];
        if let Self::Group { kept, group } = self {
            return Mask::from_fn(rows, cols, |row, col| {
                let start = col - col % group;
                let before =
                    (start..(start + group).min(cols)).filter(|other| (draw(row, *other), *other) < (draw(row, col), col));
                before.count() < kept
            });
        }
        Mask::from_fn(rows, cols, |row, col| f64::from(draw(row, col) + 1.0) < 2.0 * density)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Block { rows, cols } => write!(f, "{rows}x{cols}"),
            Self::Group { kept, group } => write!(f, "{kept}:{group}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Uniform].into_iter().chain(Self::KNOWN);
        known.clone().find(|pattern| pattern.to_string() == text).ok_or_else(|| {
            let known: Vec<_> = known.map(|pattern| pattern.to_string()).collect();
            KernelError::Refused(format!("no pattern is called {text}; there are {}", known.join(", ")))
        })
    }
}

impl TryFrom<String> for Pattern {
    type Error = KernelError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_in_what_it_made() {
        for pattern in Pattern::KNOWN {
            for (rows, cols) in [(64, 256), (33, 150), (20, 70)] {
                let mask = pattern.mask(rows, cols, 0.3, 5);
                assert!(pattern.holds(&mask), "{pattern} in [{rows}, {cols}]");
                assert!((1.0 - mask.sparsity() - pattern.density(0.3)).abs() < 0.12, "{pattern}: {}", mask.sparsity());
                assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
            }
            assert_eq!(Pattern::of(&pattern.mask(64, 256, 0.3, 5)).density(0.3), pattern.density(0.3));
        }
        for density in [0.5, 0.25, 0.1] {
            assert_eq!(Pattern::of(&Pattern::Uniform.mask(64, 256, density, 5)), Pattern::Uniform);
        }
        assert!("3x3".parse::<Pattern>().is_err_and(|error| error.to_string().contains("1x4")));
    }
}

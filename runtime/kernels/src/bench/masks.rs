//! Generated masks: regular ones, and those whose rows or columns are not alike, as pruning leaves them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::testing::random_values;
use crate::{KernelError, Mask, Pattern};

/// How many times as likely a weight is kept in the fullest line of a skewed mask as in the emptiest, as a power of two.
const SKEW: f32 = 4.0;

/// Where the kept weights of generated masks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masks {
    /// At random, as a pattern allows it; every place as likely as any other.
    Even(Pattern),
    /// Anywhere, some rows up to 16 times as full as others.
    RowSkewed,
    /// Anywhere, some columns up to 16 times as full as others.
    ColumnSkewed,
}

impl Default for Masks {
    /// Anywhere, at random.
    fn default() -> Self {
        Self::Even(Pattern::Uniform)
    }
}

impl fmt::Display for Masks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Even(pattern) => pattern.fmt(f),
            Self::RowSkewed => f.write_str("row-skewed"),
            Self::ColumnSkewed => f.write_str("column-skewed"),
        }
    }
}

impl Serialize for Masks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Masks {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Self, KernelError> {
        match text {
            "row-skewed" => Ok(Self::RowSkewed),
            "column-skewed" => Ok(Self::ColumnSkewed),
            _ => match text.parse() {
                Ok(pattern) => Ok(Self::Even(pattern)),
                Err(error) => Err(KernelError::Refused(format!("{error}, row-skewed, column-skewed"))),
            },
        }
    }
}

impl Masks {
    /// The sparsity of these masks where `asked` is asked for, 0 to 1.
    pub fn sparsity(self, asked: f64) -> f64 {
        if let Self::Even(pattern) = self { 1.0 - pattern.density(1.0 - asked) } else { asked }
    }

    /// One of `[rows, cols]` at `sparsity`, decided by `seed`.
    pub fn mask(self, rows: usize, cols: usize, sparsity: f64, seed: u64) -> Mask {
        let likely = |lines| random_values(lines, seed).into_iter().map(|value| (SKEW * (value + 1.0) / 2.0).exp2());
        let (by_row, by_col): (Vec<f32>, Vec<f32>) = match self {
            Self::Even(pattern) => return pattern.mask(rows, cols, 1.0 - sparsity, !seed),
            Self::RowSkewed => (likely(rows).collect(), vec![1.0; cols]),
            Self::ColumnSkewed => (vec![1.0; rows], likely(cols).collect()),
        };
        // A draw without replacement: the largest of `u^(1 / likely)` are kept (Efraimidis and Spirakis 2006).
        let mut keys = random_values(rows * cols, !seed);
        for (row, keys) in keys.chunks_exact_mut(cols.max(1)).enumerate() {
            for (key, by_col) in keys.iter_mut().zip(&by_col) {
                *key = ((*key + 1.0) / 2.0).ln() / (by_row[row] * by_col);
            }
        }
        let bar = lowest_kept(&keys, sparsity);
        Mask::from_fn(rows, cols, |row, col| keys[row * cols + col] >= bar)
    }
}

/// The smallest of the `1 - sparsity` largest keys.
fn lowest_kept(keys: &[f32], sparsity: f64) -> f32 {
    let pruned = (keys.len() as f64 * sparsity).round() as usize;
    if pruned >= keys.len() {
        return f32::INFINITY;
    }
    let mut order = keys.to_vec();
    *order.select_nth_unstable_by(pruned, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_the_sparsity_that_they_say() {
        for word in ["uniform", "row-skewed", "column-skewed", "1x4", "16:64"] {
            let masks: Masks = word.parse().unwrap();
            assert_eq!(masks.to_string(), word);
            for asked in [0.0, 0.5, 0.9, 1.0] {
                let (found, said) = (masks.mask(256, 256, asked, 3).sparsity(), masks.sparsity(asked));
                assert!((found - said).abs() < 0.01, "{word}: {found} for {said}");
            }
        }
        assert!("skewed".parse::<Masks>().is_err_and(|error| error.to_string().contains("1x4, ")));
        assert!("skewed".parse::<Masks>().is_err_and(|error| error.to_string().contains("row-skewed")));
    }

    #[test]
    fn skewed_masks_have_fuller_and_emptier_lines() {
        let spread = |masks: Masks, transposed: bool| {
            let mask = masks.mask(96, 96, 0.8, 1);
            let keeps = |line, place| if transposed { mask.keeps(place, line) } else { mask.keeps(line, place) };
            let mut kept: Vec<_> = (0..96).map(|line| (0..96).filter(|place| keeps(line, *place)).count()).collect();
            kept.sort_unstable();
            kept[86] as f64 / kept[10].max(1) as f64
        };
        for transposed in [false, true] {
            assert!(spread(Masks::default(), transposed) < 2.5);
            assert!((spread(Masks::RowSkewed, transposed) > 4.0) != transposed);
            assert!((spread(Masks::ColumnSkewed, transposed) > 4.0) == transposed);
        }
    }
}

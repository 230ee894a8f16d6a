//! Which weights of a matrix are kept: one bit per weight.
//!
//! A mask is a value of its own, not "wherever the weight is zero": a kept weight may become zero while it trains or when it is
//! rounded, and it stays kept.
//!
//! *Invariant*: `words.len() == rows * words_per_row`, and bits past `cols` in the last word of a row are zero.

use serde::{Deserialize, Serialize};

use crate::KernelError;
use crate::error::Result;

/// One bit per weight of a `[rows, cols]` (that is `[out, in]`) matrix; a set bit is a kept weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Mask {
    rows: usize,
    cols: usize,
    words: Vec<u64>,
}

/// What a stored mask claims.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    rows: usize,
    cols: usize,
    words: Vec<u64>,
}

impl TryFrom<Parts> for Mask {
    type Error = KernelError;

    fn try_from(Parts { rows, cols, words }: Parts) -> Result<Self> {
        Self::from_words(rows, cols, words)
    }
}

impl Mask {
    /// The mask whose rows are `words`: 64 columns a word, lowest bit first, every row beginning a new word.
    ///
    /// # Errors
    /// When there are too few or too many words, or a bit past the last column is set.
    pub fn from_words(rows: usize, cols: usize, words: Vec<u64>) -> Result<Self> {
        let malformed = |reason: String| Err(KernelError::Malformed { what: "mask", reason });
        let per_row = cols.div_ceil(64);
        if rows.checked_mul(per_row) != Some(words.len()) {
            return malformed(format!("{} words where [{rows}, {cols}] has {per_row} a row", words.len()));
        }
        let stray = !cols.is_multiple_of(64) && words.chunks_exact(per_row).any(|row| row[per_row - 1] >> (cols % 64) != 0);
        if stray {
            return malformed(format!("a bit past column {cols} is set"));
        }
        Ok(Self { rows, cols, words })
    }

    /// The mask that keeps the weights for which `keep(row, col)` holds.
    pub fn from_fn(rows: usize, cols: usize, keep: impl Fn(usize, usize) -> bool) -> Self {
        let per_row = cols.div_ceil(64);
        let mut words = vec![0u64; rows * per_row];
        for row in 0..rows {
            for col in 0..cols {
                if keep(row, col) {
                    words[row * per_row + col / 64] |= 1 << (col % 64);
                }
            }
        }
        Self { rows, cols, words }
    }

    /// Keeps every weight that is not zero; `weights` is `[rows, cols]`, row-major.
    ///
    /// # Panics
    /// When `weights` does not hold `rows * cols` values.
    pub fn of_nonzeros(weights: &[f32], rows: usize, cols: usize) -> Self {
        assert_eq!(weights.len(), rows * cols, "a [{rows}, {cols}] matrix");
        Self::from_fn(rows, cols, |row, col| weights[row * cols + col] != 0.0)
    }

    /// Rows, that is outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, that is inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Whether the weight at `row`, `col` is kept.
    pub fn keeps(&self, row: usize, col: usize) -> bool {
        debug_assert!(row < self.rows && col < self.cols);
        self.row(row)[col / 64] >> (col % 64) & 1 == 1
    }

    /// The bits of one row, 64 columns a word, lowest bit first.
    pub fn row(&self, row: usize) -> &[u64] {
        let per_row = self.cols.div_ceil(64);
        &self.words[row * per_row..(row + 1) * per_row]
    }

    /// The columns kept in one row, left to right.
    pub fn kept_cols(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        self.row(row).iter().enumerate().flat_map(|(word, &bits)| SetBits(bits).map(move |bit| word * 64 + bit))
    }

    /// Weights kept in one row.
    pub fn kept_in_row(&self, row: usize) -> usize {
        self.row(row).iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Bytes of the mask in memory.
    pub fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// Kept weights.
    pub fn kept(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Share of weights that are pruned, 0 to 1; an empty matrix has none.
    pub fn sparsity(&self) -> f64 {
        let weights = self.rows * self.cols;
        if weights == 0 { 0.0 } else { 1.0 - self.kept() as f64 / weights as f64 }
    }

    /// Sets every pruned weight of the `[rows, cols]` matrix to zero, also where it is NaN or infinite.
    ///
    /// # Panics
    /// When `weights` does not hold `rows * cols` values.
    pub fn apply<T: Default>(&self, weights: &mut [T]) {
        assert_eq!(weights.len(), self.rows * self.cols, "a [{}, {}] matrix", self.rows, self.cols);
        for (row, values) in weights.chunks_exact_mut(self.cols.max(1)).enumerate() {
            for (bits, values) in self.row(row).iter().zip(values.chunks_mut(64)) {
                for (bit, value) in values.iter_mut().enumerate() {
                    if bits >> bit & 1 == 0 {
                        *value = T::default();
                    }
                }
            }
        }
    }

    /// Whether everything that `self` prunes is pruned by `later` too: no weight came back.
    pub fn contains(&self, later: &Self) -> bool {
        (self.rows, self.cols) == (later.rows, later.cols)
            && self.words.iter().zip(&later.words).all(|(mine, theirs)| theirs & !mine == 0)
    }
}

/// The positions of the set bits of a word, lowest first.
pub(crate) struct SetBits(pub(crate) u64);

impl Iterator for SetBits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_counts_applies_and_compares() {
        let weights: Vec<f32> = (0..3 * 70).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let mask = Mask::of_nonzeros(&weights, 3, 70);
        assert_eq!(mask.kept(), 53);
        assert_eq!(mask.kept_cols(1).collect::<Vec<_>>(), (0..70).filter(|col| (70 + col) % 4 == 0).collect::<Vec<_>>());
        assert_eq!((0..3).map(|row| mask.kept_in_row(row)).sum::<usize>(), 53);
        assert!((mask.sparsity() - (1.0 - 53.0 / 210.0)).abs() < 1e-12);
        let mut full = vec![f32::NAN; 210];
        mask.apply(&mut full);
        assert!(full.iter().enumerate().all(|(i, w)| if i % 4 == 0 { w.is_nan() } else { *w == 0.0 }));
        let fewer = Mask::from_fn(3, 70, |row, col| mask.keeps(row, col) && row != 1);
        assert!(mask.contains(&fewer) && !fewer.contains(&mask));
    }

    #[test]
    fn a_malformed_mask_is_refused() {
        let mask = Mask::from_fn(3, 70, |row, col| row == col);
        let text = serde_json::to_string(&mask).unwrap();
        assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
        for (broken, reason) in [
            (text.replace("\"rows\":3", "\"rows\":4"), "6 words"),
            (text.replace("\"rows\":3", "\"rows\":18446744073709551615"), "6 words"),
            (text.replace("\"cols\":70", "\"cols\":700"), "6 words"),
        ] {
            assert!(serde_json::from_str::<Mask>(&broken).unwrap_err().to_string().contains(reason));
        }
        assert!(Mask::from_words(1, 65, vec![0, 2]).unwrap_err().to_string().contains("past column 65"));
    }
}

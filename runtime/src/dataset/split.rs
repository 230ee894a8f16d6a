//! Which rows are for training, for validation, for the test: by the manifest's own column, or by shares and a seed.
//!
//! By shares, sentences are put in the order of a keyed hash of their text, and the shares cut this order: the same seed gives the
//! same splits however the manifest is sorted, and a sentence spoken twice is in one split with all its recordings.

use std::collections::{BTreeMap, HashSet};

use super::{Dataset, Rows};
use crate::metric::Normalization;
use crate::{Fault, Result};

/// How rows are divided.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// By the name in the manifest's split column; no splits where no row names one.
    Column,
    /// By shares, 0 to 1 each and together; rows beyond their sum are not used.
    Shares(Vec<(String, f64)>),
}

impl Rows {
    /// Divides the rows; the splits come in the order of the shares, or of their names.
    ///
    /// # Errors
    /// A share out of range, a split without rows, or a row whose split is not named in the manifest.
    pub fn split(&self, split: &Split, seed: u64) -> Result<Vec<(String, Self)>> {
        let splits = match split {
            Split::Column => self.by_column()?,
            Split::Shares(shares) => self.by_shares(shares, seed)?,
        };
        let chosen = |(name, indices): (String, Vec<usize>)| match self.select(&indices) {
            Some(rows) => Ok((name, rows)),
            None => Err(Fault::input(format!("the split `{name}` gets none of the {} rows", self.len()))
                .at(self.path())
                .help("give it a larger share, or more rows with different texts to divide")),
        };
        splits.into_iter().map(chosen).collect()
    }

    /// The first `count` rows in the order of a seed, the same however the manifest is sorted.
    ///
    /// # Errors
    /// When there are fewer rows, or none are asked for.
    pub fn take(&self, count: usize, seed: u64) -> Result<Self> {
        if count == 0 || count > self.len() {
            return Err(Fault::input(format!("{count} rows are to be taken, and there are {}", self.len()))
                .at(self.path())
                .help(format!("take 1 to {}", self.len())));
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_cached_key(|&index| {
            let fields = &self.entry(index).fields;
            let said = [Some(fields.text.as_str()), fields.source.as_deref(), fields.audio.as_deref()];
            (keyed(seed, &said.map(Option::unwrap_or_default).join("\0")), index)
        });
        self.select(&order[..count]).ok_or_else(|| Fault::internal("a selection of no rows"))
    }

    /// Sentences that these rows have in common with `other`: a score on one after training on the other would be too good.
    pub fn shared_sentences(&self, other: &Self) -> usize {
        let sentences = |rows: &Self| (0..rows.len()).map(|index| rows.sentence(index)).collect::<HashSet<_>>();
        sentences(self).intersection(&sentences(other)).count()
    }

    fn by_column(&self) -> Result<Vec<(String, Vec<usize>)>> {
        if (0..self.len()).all(|index| self.entry(index).fields.split.is_none()) {
            return Ok(Vec::new());
        }
        let mut splits: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in 0..self.len() {
            let entry = self.entry(index);
            let Some(name) = &entry.fields.split else {
                return Err(Fault::input(format!("line {} does not say which split it belongs to", entry.line))
                    .at(self.path())
                    .help(
                        "name a split in every row, or give shares in the recipe: `split: [train: 80%, valid: 10%, test: 10%]`",
                    ));
            };
            splits.entry(name.trim().to_owned()).or_default().push(index);
        }
        Ok(splits.into_iter().collect())
    }

    fn by_shares(&self, shares: &[(String, f64)], seed: u64) -> Result<Vec<(String, Vec<usize>)>> {
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        let valid = sum <= 1.0 + 1e-9 && shares.iter().all(|(_, share)| *share > 0.0);
        if !valid {
            return Err(Fault::input(format!(
                "the shares of a split are positive and at most 100 % together, not {:.4} %",
                100.0 * sum
            ))
            .at(self.path()));
        }
        let mut sentences: BTreeMap<([u8; 32], String), Vec<usize>> = BTreeMap::new();
        for index in 0..self.len() {
            let sentence = self.sentence(index);
            sentences.entry((keyed(seed, &sentence), sentence)).or_default().push(index);
        }
        let mut splits: Vec<(String, Vec<usize>)> = shares.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        let mut before = 0;
        for indices in sentences.into_values() {
            // The split that holds the middle of the sentence's rows.
            let middle = (before as f64 + indices.len() as f64 / 2.0) / self.len() as f64;
            before += indices.len();
            let mut end = 0.0;
            let place = shares.iter().position(|(_, share)| {
                end += share;
                middle < end
            });
            if let Some(place) = place {
                splits[place].1.extend(indices);
            }
        }
        for (_, indices) in &mut splits {
            indices.sort_unstable();
        }
        Ok(splits)
    }

    /// What makes two rows the same sentence: the text as it would be scored.
    fn sentence(&self, index: usize) -> String {
        Normalization::Basic.apply(self.text(index)).into_owned()
    }
}

/// A hash of `text` that another seed makes another one.
fn keyed(seed: u64, text: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(text.as_bytes());
    *hasher.finalize().as_bytes()
}

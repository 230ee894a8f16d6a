//! `dataset`: the rows of a manifest, divided into parts.

use std::sync::Arc;

use sparsec_compiler::{Kind, Word};

use super::{Output, Stage, Work, word_of};
use crate::dataset::{Dataset, Manifest, Rows, Split};
use crate::facts::Files;
use crate::shelf::Shares;
use crate::{Fault, Result, word};

word! {
    /// Opens a manifest and divides its rows; rows with the same text stay together.
    pub struct DatasetStage = "dataset"(
        /// The manifest.
        source: Arc<dyn Manifest>,
    ) {
        /// The parts and their shares; without it, the parts that the rows of the manifest name themselves.
        split: Option<Shares>,
        /// Another seed divides the rows in another way.
        seed: u64 = 0,
    }
}

/// Rows, and the parts they were divided into.
#[derive(Clone)]
pub struct Data {
    /// All rows.
    pub whole: Rows,
    /// The parts by name, in the order of the recipe.
    pub parts: Vec<(String, Rows)>,
}

impl Data {
    /// The part `field`, or all rows.
    ///
    /// # Errors
    /// When there is no such part.
    pub fn part(&self, field: Option<&str>) -> Result<&Rows> {
        let Some(field) = field else { return Ok(&self.whole) };
        let part = self.parts.iter().find(|(name, _)| name == field);
        part.map(|(_, rows)| rows).ok_or_else(|| Fault::input(format!("the data has no part `{field}`")))
    }

    /// BLAKE3 over what the rows say and hold, and which part each is in.
    ///
    /// # Errors
    /// A sound file that cannot be read.
    pub fn content_hash(&self) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.whole.content_hash()?.as_bytes());
        for (name, rows) in &self.parts {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(rows.content_hash()?.as_bytes());
        }
        Ok(hasher.finalize())
    }
}

impl DatasetStage {
    /// Opens the manifest, which is one of `files`.
    ///
    /// # Errors
    /// A manifest or a row that cannot be used, a part without rows.
    pub fn open(&self, files: &Files) -> Result<Data> {
        let whole = Rows::open(&*self.source, &files.find(&self.source.path().0)?, files.access())?;
        let split = self.split.clone().map_or(Split::Column, |Shares(shares)| Split::Shares(shares));
        let parts = whole.split(&split, self.seed)?;
        Ok(Data { whole, parts })
    }
}

impl Stage for DatasetStage {
    const KEPT: bool = false;

    fn word() -> Word {
        word_of::<Self>(Kind::Dataset).fields_from("split")
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let data = self.open(work.inputs.files())?;
        for (at, (name, rows)) in data.parts.iter().enumerate() {
            for (other, other_rows) in &data.parts[..at] {
                let shared = rows.shared_sentences(other_rows);
                if shared > 0 {
                    work.note(format!(
                        "`{other}` and `{name}` share {shared} sentences: a score on one of them after training on the other is too good"
                    ));
                }
            }
        }
        Ok(Output::Data(data))
    }
}

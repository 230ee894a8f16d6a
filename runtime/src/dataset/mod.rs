//! The shelf of data sets: rows of audio and text from a manifest, split and ordered by seed alone.
//!
//! A manifest is read once, whole, and every row is checked before the first is used: what is wrong with ten rows is said at once,
//! not at step 3000. Sound is decoded when it is asked for. Which rows are in which split depends on what the rows say and on the
//! seed, never on where they stand, and two rows with the same text are never in different splits.

mod csv;
mod jsonl;
mod manifest;
mod order;
mod rows;
mod sounds;
mod split;

use std::fmt::Debug;
use std::path::Path;

use rayon::prelude::*;

pub use self::csv::Csv;
pub use jsonl::Jsonl;
pub use manifest::{Access, Columns, Fields, Line};
pub use order::Order;
pub use rows::Rows;
pub use split::Split;

use crate::model::Row;
use crate::shelf::{InputPath, Shelf};
use crate::{Result, row, shelved};

/// A manifest as a recipe names it: one file of this folder, one row of [`MANIFESTS`].
pub trait Manifest: Debug + Send + Sync {
    /// The file, as the recipe writes it.
    fn path(&self) -> &InputPath;

    /// What its columns are called.
    fn columns(&self) -> Columns;

    /// Reads every line of the file, which lies at `path`; a line that does not parse is returned as such.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks one of the columns as a whole.
    fn lines(&self, path: &Path) -> Result<Vec<Line>>;
}

/// Every way to write a manifest.
pub static MANIFESTS: Shelf<dyn Manifest> = Shelf::new("manifest", &[row!(dyn Manifest, Jsonl), row!(dyn Manifest, Csv)]);

shelved! { dyn Manifest, MANIFESTS }

/// Where rows come from. Opening reads the manifest only; audio is read row by row.
pub trait Dataset: Send + Sync {
    /// Rows.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads row `index`, audio decoded and resampled to `sample_rate`.
    ///
    /// # Errors
    /// A file that is missing, unreadable, silent or too long, each named.
    fn row(&self, index: usize, sample_rate: Option<u32>) -> Result<Row>;

    /// Reads several rows in parallel, in the order of `indices`.
    ///
    /// # Errors
    /// As [`Dataset::row`]; one of the faults if there are several.
    fn rows(&self, indices: &[usize], sample_rate: Option<u32>) -> Result<Vec<Row>> {
        indices.par_iter().map(|&index| self.row(index, sample_rate)).collect()
    }

    /// BLAKE3 over what the rows say and hold: texts and the bytes of the audio files.
    fn content_hash(&self) -> Result<blake3::Hash>;
}

#[cfg(test)]
mod tests;

//! The shelf of data sets: rows of audio and text from a manifest, split and ordered by seed alone.

use crate::Result;
use crate::model::Row;

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
    /// A file that is missing, unreadable, silent, too short or too long, each named.
    fn row(&self, index: usize, sample_rate: Option<u32>) -> Result<Row>;

    /// BLAKE3 over what the rows say and hold: texts and the bytes of the audio files.
    fn content_hash(&self) -> Result<blake3::Hash>;
}

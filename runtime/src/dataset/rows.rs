//! Rows of a manifest: all of them, or those of a split.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::manifest::{self, Entry};
use super::sounds::Sounds;
use super::{Access, Dataset, Manifest};
use crate::model::Row;
use crate::{Fault, Result};

/// Rows of one manifest, in an order. Clones and splits share the manifest and its decoded sound.
///
/// *Invariant*: every index is below the number of entries, and there is at least one.
#[derive(Clone)]
pub struct Rows {
    opened: Arc<Opened>,
    indices: Arc<[usize]>,
}

/// What all selections from one manifest share.
struct Opened {
    path: PathBuf,
    entries: Vec<Entry>,
    sounds: Sounds,
    /// BLAKE3 of every entry: what it says, and the bytes of its file.
    hashes: Vec<OnceLock<blake3::Hash>>,
}

impl Rows {
    /// Reads `manifest`, whose file lies at `path`, and checks every row of it.
    ///
    /// # Errors
    /// A manifest that cannot be read or has no rows, and a list of the rows that cannot be used.
    pub fn open(manifest: &dyn Manifest, path: &Path, access: Access) -> Result<Self> {
        let entries = manifest::entries(manifest, path, access)?;
        let indices = (0..entries.len()).collect();
        let hashes = entries.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { opened: Arc::new(Opened { path: path.to_owned(), entries, sounds: Sounds::new(), hashes }), indices })
    }

    /// The manifest's file.
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// The reference text of row `index`, without reading its sound.
    pub fn text(&self, index: usize) -> &str {
        &self.entry(index).fields.text
    }

    /// `fault` with the file and the line of row `index`, which it is about.
    pub fn blame(&self, index: usize, mut fault: Fault) -> Fault {
        let entry = self.entry(index);
        fault.message += &format!(" (line {} of {})", entry.line, self.opened.path.display());
        fault.at(entry.audio.as_ref().unwrap_or(&self.opened.path))
    }

    pub(super) fn entry(&self, index: usize) -> &Entry {
        &self.opened.entries[self.indices[index]]
    }

    /// The rows at `indices` of these, in this order; `None` if there are none.
    pub(super) fn select(&self, indices: &[usize]) -> Option<Self> {
        let indices: Arc<[usize]> = indices.iter().map(|&index| self.indices[index]).collect();
        (!indices.is_empty()).then(|| Self { opened: Arc::clone(&self.opened), indices })
    }

    fn hash(&self, index: usize) -> Result<blake3::Hash> {
        let slot = &self.opened.hashes[self.indices[index]];
        if let Some(hash) = slot.get() {
            return Ok(*hash);
        }
        let hash = hash(self.entry(index))?;
        Ok(*slot.get_or_init(|| hash))
    }
}

impl Dataset for Rows {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn row(&self, index: usize, sample_rate: Option<u32>) -> Result<Row> {
        let entry = self.entry(index);
        let audio = match (&entry.audio, sample_rate) {
            (Some(path), Some(rate)) => {
                let sound = self.opened.sounds.get(self.indices[index], path, rate);
                Some(sound.map_err(|fault| self.blame(index, fault))?)
            }
            (None, Some(_)) => {
                return Err(Fault::input("this model hears, but the rows have no sound")
                    .at(&self.opened.path)
                    .help("name the column that holds the paths of the sound files"));
            }
            (_, None) => None,
        };
        Ok(Row { audio, source: entry.fields.source.clone(), text: entry.fields.text.clone() })
    }

    fn content_hash(&self) -> Result<blake3::Hash> {
        let hashes: Vec<blake3::Hash> = (0..self.len()).into_par_iter().map(|index| self.hash(index)).collect::<Result<_>>()?;
        let mut all = blake3::Hasher::new();
        for hash in &hashes {
            all.update(hash.as_bytes());
        }
        Ok(all.finalize())
    }
}

/// BLAKE3 of what a row says and of the bytes of its sound file, wherever the file lies and whatever it is called.
fn hash(entry: &Entry) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    for text in [entry.fields.text.as_str(), entry.fields.source.as_deref().unwrap_or_default()] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    if let Some(path) = &entry.audio {
        let file = File::open(path).map_err(|error| Fault::reading(path, &error))?;
        hasher.update_reader(file).map_err(|error| Fault::reading(path, &error))?;
    }
    Ok(hasher.finalize())
}

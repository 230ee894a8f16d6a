//! A manifest: one row per line, checked as a whole.

use std::path::{Path, PathBuf};

use super::Manifest;
use crate::{Fault, Result};

/// Longest line or record that is read, bytes: longer ones are no manifest but some other file.
pub(super) const LINE_LIMIT_BYTES: usize = 1 << 20;
/// Bad rows that one fault lists.
const LISTED_ROWS: usize = 10;

/// The names of a manifest's columns or fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Path of the sound file; `None` for data without sound.
    pub audio: Option<String>,
    /// Source text of translation or generation; `None` for data without.
    pub source: Option<String>,
    /// Reference text.
    pub text: String,
    /// Name of the split that the row belongs to. The column may be missing.
    pub split: String,
}

impl Columns {
    /// The columns that a recipe names. Rows are heard, from `audio`, unless it names a source text alone.
    pub fn named(audio: Option<&String>, source: Option<&String>, text: &str, split: &str) -> Self {
        let heard = audio.cloned().or_else(|| source.is_none().then(|| "audio".to_owned()));
        Self { audio: heard, source: source.cloned(), text: text.to_owned(), split: split.to_owned() }
    }

    /// The columns that every row must have.
    pub(super) fn required(&self) -> impl Iterator<Item = &str> {
        self.audio.as_deref().into_iter().chain(self.source.as_deref()).chain([self.text.as_str()])
    }
}

/// What one line of a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Path of the sound file as written.
    pub audio: Option<String>,
    /// Source text.
    pub source: Option<String>,
    /// Reference text.
    pub text: String,
    /// Name of a split.
    pub split: Option<String>,
}

impl Fields {
    /// Gathers what `get` finds under the names of `columns`.
    ///
    /// # Errors
    /// Says which column has no value.
    pub(super) fn gather(columns: &Columns, get: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let needed = |name: &str| get(name)?.ok_or_else(|| format!("`{name}` is missing"));
        Ok(Self {
            audio: columns.audio.as_deref().map(needed).transpose()?,
            source: columns.source.as_deref().map(needed).transpose()?,
            text: needed(&columns.text)?,
            split: get(&columns.split)?.filter(|name| !name.trim().is_empty()),
        })
    }
}

/// A line of a manifest, parsed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// What it says, or why it cannot be used.
    pub fields: Result<Fields, String>,
}

/// Which files a manifest may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Files in the manifest's folder and below, for a manifest may come from a stranger.
    #[default]
    Folder,
    /// Any file.
    Anywhere,
}

/// A row that was checked: it has text, and its sound file exists.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Line in the manifest, counted from 1.
    pub(super) line: u64,
    /// The sound file, ready to open.
    pub(super) audio: Option<PathBuf>,
    /// What the manifest says.
    pub(super) fields: Fields,
}

/// Reads and checks the whole manifest at `path`; there is at least one entry.
pub(super) fn entries(manifest: &dyn Manifest, path: &Path, access: Access) -> Result<Vec<Entry>> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|error| Fault::reading(path, &error))?;
    let lines = manifest.lines(path)?;
    if lines.is_empty() {
        return Err(Fault::input("this manifest has no rows").at(path).help("write one row per utterance"));
    }
    let rows = lines.len();
    let mut entries = Vec::with_capacity(rows);
    let mut bad = Vec::new();
    for line in lines {
        match line.fields.and_then(|fields| checked(line.number, fields, &folder, access)) {
            Ok(entry) => entries.push(entry),
            Err(reason) => bad.push(format!("line {}: {reason}", line.number)),
        }
    }
    if bad.is_empty() { Ok(entries) } else { Err(unusable(&bad, rows).at(path)) }
}

fn checked(line: u64, fields: Fields, folder: &Path, access: Access) -> Result<Entry, String> {
    if fields.text.trim().is_empty() {
        return Err("the text is empty".to_owned());
    }
    if fields.source.as_deref().is_some_and(|source| source.trim().is_empty()) {
        return Err("the source text is empty".to_owned());
    }
    let audio = fields.audio.as_deref().map(|audio| locate(audio, folder, access)).transpose()?;
    Ok(Entry { line, audio, fields })
}

/// The file that a row calls `audio`, its links resolved.
fn locate(audio: &str, folder: &Path, access: Access) -> Result<PathBuf, String> {
    let path = folder.join(audio).canonicalize().map_err(|error| format!("`{audio}` cannot be found: {error}"))?;
    if access == Access::Folder && !path.starts_with(folder) {
        return Err(format!("`{audio}` lies outside the manifest's folder, which only `--allow-outside` lets it leave"));
    }
    if !path.is_file() {
        return Err(format!("`{audio}` is not a file"));
    }
    Ok(path)
}

/// What is wrong with every bad row, up to [`LISTED_ROWS`] of them, in one fault.
pub(super) fn unusable(bad: &[String], rows: usize) -> Fault {
    let mut message = format!("{} of {rows} rows cannot be used", bad.len());
    for reason in bad.iter().take(LISTED_ROWS) {
        message += &format!("\n  {reason}");
    }
    if bad.len() > LISTED_ROWS {
        message += &format!("\n  and {} more", bad.len() - LISTED_ROWS);
    }
    Fault::input(message).help("mend these lines or take them out; paths are relative to the manifest")
}

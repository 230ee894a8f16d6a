//! Finished stages on the disk: a checkpoint folder, and what the stage did.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::StageRecord;
use crate::{Checkpoint, Fault, Result, disk, folder};

/// The record of a finished stage, beside its model; written last, so that it marks the folder as whole.
const RECORD: &str = "record.json";

/// What the record says.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    record: StageRecord,
    /// Bytes of every other file, to see whether all of them are still there.
    files: BTreeMap<String, u64>,
}

/// Keeps what a stage yielded in `folder`, whole or not at all.
///
/// # Errors
/// A disk that is full.
pub(super) fn keep(folder: &Path, checkpoint: &Checkpoint, record: &StageRecord) -> Result<()> {
    folder::rewrite(folder, |folder| {
        checkpoint.write_into(folder)?;
        let stored = Stored { record: record.clone(), files: sizes(folder)? };
        disk::write_json(&folder.join(RECORD), &stored)
    })
}

/// The record of the stage that is kept in `folder`; none if there is none.
///
/// # Errors
/// When something of it is missing or cut short.
pub(super) fn read(folder: &Path) -> Result<Option<StageRecord>> {
    if !folder.exists() {
        return Ok(None);
    }
    let stored: Stored = super::read_json(&folder.join(RECORD))?;
    let found = sizes(folder)?;
    match stored.files.iter().find(|(name, bytes)| found.get(*name) != Some(bytes)) {
        Some((name, bytes)) => Err(Fault::input(format!("this file should be there with {bytes} bytes")).at(folder.join(name))),
        None => Ok(Some(stored.record)),
    }
}

/// The records of all stages that are kept in folders of `stages`; what is damaged is left out.
pub(super) fn all(stages: &Path) -> impl Iterator<Item = StageRecord> {
    let folders = std::fs::read_dir(stages).into_iter().flatten().flatten();
    folders.filter_map(|folder| read(&folder.path()).ok().flatten())
}

/// Bytes of every file in `folder`, by name.
fn sizes(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let named = |(path, bytes): (std::path::PathBuf, u64)| {
        (path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned(), bytes)
    };
    Ok(disk::files(folder)?.into_iter().map(named).collect())
}

//! The folder `.sparsec` of a working directory: finished stages, work in progress, scores and reports, held by one run at a time.
//!
//! ```text
//! .sparsec/lock                    the process that runs here, locked while it does
//! .sparsec/stages/<key>/           a finished stage: a checkpoint folder, and record.json
//! .sparsec/work/<key>.safetensors  where an unfinished stage goes on
//! .sparsec/scores/<key>.json       what a model said to every row of a data set
//! .sparsec/heard/<content>.json    how many rows of this content were listened to and can be used
//! .sparsec/exports/<key>.json      the content of an artifact as it was written
//! .sparsec/reports/<key>/          report.json, report.html and the frozen tuning.json of a finished run
//! .sparsec/tuning.json             measured times of kernels: what is known is not measured again, so that choices stay
//! .sparsec/tuning.json.damaged     such a file that could not be read
//! ```
//!
//! A key is the meaning of a step: its fingerprint, the content of what it read, and the keys of the steps above it.
//! So nothing here is ever out of date; deleting the folder loses time and nothing else.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use sparsec_kernels::{KernelError, Tuning};

use super::{Event, Events};
use crate::{Fault, Result, disk, folder};

/// The name of the folder.
const NAME: &str = ".sparsec";

/// The name of the file of measured kernel times.
const TUNING: &str = "tuning.json";

/// The state folder of a working directory.
pub struct State {
    root: PathBuf,
    /// Unlocks when it is dropped, or when the process ends in whatever way; none for who only looks.
    lock: Option<File>,
}

impl State {
    /// Opens and locks the state of the working directory `directory`, making it where it is missing.
    ///
    /// # Errors
    /// When another process runs here, or the folder cannot be written.
    pub fn open(directory: &Path) -> Result<Self> {
        let root = directory.join(NAME);
        fs::create_dir_all(&root).map_err(|error| Fault::writing(&root, &error))?;
        let path = root.join("lock");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(|error| Fault::writing(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&root, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(Fault::writing(&path, &error)),
        }
        sign(&mut lock).map_err(|error| Fault::writing(&path, &error))?;
        sweep(&root).map_err(|error| Fault::writing(&root, &error))?;
        Ok(Self { root, lock: Some(lock) })
    }

    /// The state of the working directory `directory` as it lies there, for reading alone; nothing is made or locked.
    pub fn look(directory: &Path) -> Self {
        Self { root: directory.join(NAME), lock: None }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of all finished stages.
    pub fn stages(&self) -> PathBuf {
        self.root.join("stages")
    }

    /// The folder of a finished stage.
    pub fn stage(&self, key: &blake3::Hash) -> PathBuf {
        self.stages().join(key.to_hex().as_str())
    }

    /// The file from which an unfinished stage goes on.
    pub fn work(&self, key: &blake3::Hash) -> PathBuf {
        self.root.join("work").join(format!("{}.safetensors", key.to_hex()))
    }

    /// The file of a score.
    pub fn score(&self, key: &blake3::Hash) -> PathBuf {
        self.root.join("scores").join(format!("{}.json", key.to_hex()))
    }

    /// The file that says that rows of this content were listened to and can be used.
    pub fn heard(&self, content: &blake3::Hash) -> PathBuf {
        self.root.join("heard").join(format!("{}.json", content.to_hex()))
    }

    /// The file of measured kernel times, which decide what runs in a pruned layer.
    pub fn tuning(&self) -> PathBuf {
        self.root.join(TUNING)
    }

    /// The times in that file; none if there is none, or if it is damaged or of another version. Then `events` hears so, and who holds the
    /// folder puts the file aside, for times can be measured again.
    ///
    /// # Errors
    /// When it cannot be put aside.
    pub fn known_times(&self, events: &mut dyn Events) -> Result<Tuning> {
        let path = self.tuning();
        if !path.exists() {
            return Ok(Tuning::default());
        }
        let reason = match Tuning::load(&path) {
            Ok(tuning) => return Ok(tuning),
            Err(KernelError::Tuning { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        let aside = path.with_added_extension("damaged");
        let done = if self.lock.is_some() {
            fs::rename(&path, &aside).map_err(|error| Fault::writing(&aside, &error))?;
            format!("the file is now {}", aside.display())
        } else {
            "the next run puts the file aside".to_owned()
        };
        let path = path.display();
        events.event(Event::Note(&format!("{path} cannot be used, and kernels are measured again ({reason}); {done}")));
        Ok(Tuning::default())
    }

    /// The file that says what was exported.
    pub fn receipt(&self, key: &blake3::Hash) -> PathBuf {
        self.root.join("exports").join(format!("{}.json", key.to_hex()))
    }

    /// The folder of the report of a run.
    pub fn report(&self, key: &blake3::Hash) -> PathBuf {
        self.root.join("reports").join(key.to_hex().as_str())
    }
}

/// Removes what killed runs left unfinished below `root`; nobody else works here now.
fn sweep(root: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (path, is_folder) = (entry.path(), entry.file_type()?.is_dir());
        match (entry.file_name().to_string_lossy().starts_with(disk::UNFINISHED), is_folder) {
            (true, true) => folder::reclaim(&path)?,
            (true, false) => fs::remove_file(path)?,
            (false, true) => sweep(&path)?,
            (false, false) => {}
        }
    }
    Ok(())
}

/// Leaves this process's number for whoever finds the lock taken.
fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id())
}

/// The fault for a folder that another run holds.
fn taken(root: &Path, lock: &mut File) -> Fault {
    let mut process = String::new();
    // The holder may be about to write its number; then it goes unnamed.
    let _ = lock.read_to_string(&mut process);
    let who = if process.is_empty() { "another run".to_owned() } else { format!("another run, process {process},") };
    Fault::environment(format!("{who} works in this folder"))
        .at(root)
        .help("wait for it to end, or run in another folder with `--directory`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultKind;

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let fault = State::open(folder.path()).map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Environment);
        assert!(fault.message.contains(&format!("process {}", std::process::id())), "{fault}");
        drop(state);
        State::open(folder.path()).unwrap();
    }

    #[test]
    fn what_killed_runs_left_unfinished_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let key = blake3::hash(b"a stage");
        let state = State::open(folder.path()).unwrap();
        fs::create_dir_all(state.stage(&key)).unwrap();
        let _ = crate::folder::beside(&state.stage(&key)).unwrap().keep();
        fs::create_dir_all(state.report(&key)).unwrap();
        fs::write(state.report(&key).join(".sparsec-a1b2c3"), "half").unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert_eq!(fs::read_dir(state.root().join("stages")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(state.report(&key)).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        let fault = State::open(&blocked).map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Environment);
        assert_eq!(fault.path, Some(blocked.join(NAME)));
    }
}

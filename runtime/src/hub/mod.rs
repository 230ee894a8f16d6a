//! Checkpoints of the Hugging Face hub: found in its cache on this machine, or fetched into it.
//!
//! The cache is the one that every program of Hugging Face shares: `models--owner--name` holds `blobs`, files called by their hash;
//! `snapshots/COMMIT`, links to them under their names; and `refs/main`, the commit that a branch was at. What is fetched is checked
//! against its hash before it gets a name there. Nothing is fetched unless a run asks for it.

mod environment;
mod fetch;
mod listing;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::Fault;
use crate::checkpoint::Header;

/// The branch that a name without one means.
const MAIN: &str = "main";

/// The name of a model on the hub: `openai/whisper-small`, with `@REVISION` if another branch, tag or commit than `main` is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Owner and model.
    pub model: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Name {
    /// `text` as a name, if it can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (model, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let is_part = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed) && !part.starts_with(['.', '-']) && !part.contains("..")
        };
        let (owner, name) = model.split_once('/')?;
        (is_part(owner) && is_part(name) && is_part(revision))
            .then(|| Self { model: model.to_owned(), revision: revision.to_owned() })
    }

    /// Its folder in a cache.
    fn folder(&self) -> String {
        format!("models--{}", self.model.replace('/', "--"))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.model)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// A model of the hub on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder of its files.
    pub folder: PathBuf,
    /// The commit that they are from.
    pub commit: String,
}

/// Where models come from.
#[derive(Clone)]
pub struct Hub {
    /// The folder of the cache.
    cache: PathBuf,
    /// The address of the hub, without a final slash.
    endpoint: String,
    /// What lets a user see models that are not public.
    token: Option<String>,
    /// Whether nothing may be fetched.
    offline: bool,
}

/// The token stays unsaid.
impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("cache", &self.cache).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Hub {
    /// The model `name`, if the cache has it whole.
    pub fn find(&self, name: &Name) -> Option<Found> {
        let folder = self.cache.join(name.folder());
        let commit = std::fs::read_to_string(folder.join("refs").join(&name.revision));
        let commit = commit.map_or_else(|_| name.revision.clone(), |commit| commit.trim().to_owned());
        let snapshot = folder.join("snapshots").join(&commit);
        is_whole(&snapshot).then_some(Found { folder: snapshot, commit })
    }

    /// Why `name`, which is no folder here, cannot be read.
    pub(crate) fn absent(&self, name: &Name) -> Fault {
        Fault::input(format!("there is no such folder, and the cache in {} has no `{name}`", self.cache.display()))
            .help("`sparsec run` fetches it from the hub; or put the checkpoint into a folder and name that")
    }
}

/// Whether `snapshot` has a configuration, and every file with weights that it names.
fn is_whole(snapshot: &Path) -> bool {
    snapshot.join("config.json").is_file() && Header::has_weights(snapshot) && Header::read(snapshot).is_ok()
}

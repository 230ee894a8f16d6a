//! What the hub says about a model: its commit, and the files that a checkpoint needs with their sizes and hashes.

use serde::Deserialize;
use serde_json::Value;

use super::Name;
use crate::{Fault, Result};

/// The files of a model at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// Those that a checkpoint needs.
    pub files: Vec<RemoteFile>,
}

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What its content must hash to.
    pub hash: Hash,
}

/// The hash of a file's content, hexadecimal; it is also what the cache calls the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256, of large files.
    Sha256(String),
    /// SHA-1 as git computes it, of small ones.
    Git(String),
}

impl Hash {
    /// The digits.
    pub fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads what the hub answered about `name`.
    ///
    /// # Errors
    /// An answer in another form, or a model without weights as safetensors.
    pub(super) fn read(answer: Value, name: &Name) -> Result<Self> {
        let strange = || Fault::environment(format!("the hub's answer about `{name}` is not in the form that was expected"));
        let answer = Answer::deserialize(answer).map_err(|_| strange())?;
        let is_hash = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash(&answer.sha, 40) {
            return Err(strange());
        }
        let mut files = Vec::new();
        for sibling in answer.siblings.into_iter().filter(|sibling| is_needed(&sibling.rfilename)) {
            let (hash, bytes) = match (sibling.lfs, sibling.blob_id, sibling.size) {
                (Some(large), ..) if is_hash(&large.sha256, 64) => (Hash::Sha256(large.sha256), large.size),
                (None, Some(blob), Some(size)) if is_hash(&blob, 40) => (Hash::Git(blob), size),
                _ => return Err(strange()),
            };
            files.push(RemoteFile { name: sibling.rfilename, bytes, hash });
        }
        if !files.iter().any(|file| file.name.ends_with(".safetensors")) {
            return Err(Fault::input(format!("`{name}` has no weights as safetensors")).help(
                "weights in PyTorch's .bin files can run any code when they are read: choose a revision with safetensors",
            ));
        }
        Ok(Self { commit: answer.sha, files })
    }
}

/// Whether a checkpoint is read from this file: not from the folders of a repository, nor from its weights for other programs.
fn is_needed(name: &str) -> bool {
    let is_plain = !name.starts_with('.') && !name.contains(['/', '\\']);
    let is_weight = name == "model.safetensors" || (name.starts_with("model-") && name.ends_with(".safetensors"));
    is_plain && (is_weight || name.ends_with(".json"))
}

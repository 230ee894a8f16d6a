//! Machine code of earlier runs, in a folder of the user's own.
//!
//! A file holds the functions of one layer under a name that is the hash of all they were made from: the mask and its cut, the
//! instructions, and the code generator. Values are not part of it. Nothing in it is believed: who owns it and its hash are checked when it
//! is read, every function passes [`verify`](super::verify) before it is mapped, and the layer is computed once against the plain
//! product, as if the code were new. What fails anywhere is removed and made anew.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only machine code is kept"))]

mod rights;
#[cfg(all(test, unix, target_arch = "x86_64"))]
mod tests;

use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use blake3::{Hash, Hasher};

use crate::KernelError;
use crate::error::Result;

/// Head of a file, with the version of its layout.
const MAGIC: [u8; 8] = *b"sqcode\0\x01";

/// Ending of the files; anything else in the folder is left alone.
const EXTENSION: &str = "code";

/// Bytes of a hash.
const HASH: usize = blake3::OUT_LEN;

/// A folder of machine code that its owner alone may read or write.
#[derive(Clone, Debug)]
pub struct CodeCache {
    folder: PathBuf,
    most_bytes: u64,
}

impl CodeCache {
    /// The cache in `folder`, which is made where it is missing. It keeps `most_bytes` at most; what was used longest ago goes first.
    ///
    /// # Errors
    /// When the folder cannot be made, is a link, belongs to somebody else or is open to others, or the system has no such rights.
    pub fn open(folder: &Path, most_bytes: u64) -> Result<Self> {
        rights::make_private(folder)
            .map_err(|reason| KernelError::Cache { path: folder.display().to_string(), reason })
            .map(|()| Self { folder: folder.to_owned(), most_bytes })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that it keeps now.
    pub fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }

    /// The functions kept under `key`. A file that is not whole, or not what its name says, is removed.
    pub(crate) fn find(&self, key: Hash) -> Option<Functions> {
        let path = self.path(key);
        let mut file = rights::open_own(&path).ok()?;
        let mut bytes = Vec::new();
        let functions = file.read_to_end(&mut bytes).ok().and_then(|_| Functions::parse(bytes, key));
        match functions {
            // The time of use decides what goes first; a cache on a disk that is full or read-only serves without.
            Some(_) => drop(file.set_modified(SystemTime::now())),
            None => self.forget(key),
        }
        functions
    }

    /// Keeps functions that passed every check. A cache that cannot be written costs time and nothing else, so nothing is reported.
    pub(crate) fn keep(&self, key: Hash, functions: &[Vec<u8>]) {
        static UNFINISHED: AtomicU32 = AtomicU32::new(0);
        let file = Functions::file(key, functions);
        if file.len() as u64 > self.most_bytes {
            return;
        }
        self.make_room(file.len() as u64);
        // What a killed process leaves of it counts and goes like any other file.
        let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!("{}-{number}", std::process::id())).with_extension(EXTENSION);
        let written = rights::create_own(&beside).and_then(|mut beside| beside.write_all(&file));
        if written.and_then(|()| fs::rename(&beside, self.path(key))).is_err() {
            let _ = fs::remove_file(&beside);
        }
    }

    /// Removes what is kept under `key`.
    pub(crate) fn forget(&self, key: Hash) {
        // It may be gone already, and what cannot be removed is refused again.
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, key: Hash) -> PathBuf {
        self.folder.join(key.to_hex().as_str()).with_extension(EXTENSION)
    }

    /// Removes files, those used longest ago first, until `bytes` more fit.
    fn make_room(&self, bytes: u64) {
        let mut files = self.files();
        files.sort_by_key(|file| file.used);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if total + bytes <= self.most_bytes {
                return;
            }
            if fs::remove_file(&file.path).is_ok() {
                total -= file.bytes;
            }
        }
    }

    /// The files of this cache; none where the folder cannot be read.
    fn files(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let of_ours = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION));
        let kept = of_ours.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(Kept { path: entry.path(), bytes: metadata.len(), used: metadata.modified().ok()? })
        });
        kept.collect()
    }
}

/// A file of the cache.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The bytes of some functions, one after the other, as they lie in a file:
/// magic, key, number of functions and their lengths (32 bits each, little endian), functions, hash of all before.
///
/// *Invariant*: every range lies inside of `bytes`.
#[derive(Debug)]
pub(crate) struct Functions {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Functions {
    /// The functions of a file, if it is whole and was written for `key`.
    pub(crate) fn parse(bytes: Vec<u8>, key: Hash) -> Option<Self> {
        let (content, hash) = bytes.split_last_chunk::<HASH>()?;
        // Hashes are compared in constant time, which does no harm.
        if blake3::hash(content) != *hash {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?.strip_prefix(key.as_bytes())?;
        let (count, rest) = rest.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let lengths = rest.get(..count.checked_mul(size_of::<u32>())?)?;
        let mut start = content.len() - rest.len() + lengths.len();
        let mut places = Vec::with_capacity(count);
        for length in lengths.as_chunks().0 {
            let end = start.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            places.push(start..end);
            start = end;
        }
        (start == content.len()).then_some(Self { bytes, places })
    }

    /// The file that [`Functions::parse`] reads.
    pub(crate) fn file(key: Hash, functions: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [&MAGIC[..], key.as_bytes(), &(functions.len() as u32).to_le_bytes()].concat();
        file.extend(functions.iter().flat_map(|function| (function.len() as u32).to_le_bytes()));
        functions.iter().for_each(|function| file.extend_from_slice(function));
        let hash = blake3::hash(&file);
        file.extend_from_slice(hash.as_bytes());
        file
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The bytes of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[place.clone()])
    }
}

/// The name of what some code is made from.
pub(crate) struct Key(Hasher);

impl Key {
    /// For code of the format called `word`. `sources` are the texts of the generator: another generator makes other code.
    pub(crate) fn new(word: &str, sources: &[&str]) -> Self {
        let mut key = Self(Hasher::new());
        key.add(env!("CARGO_PKG_VERSION").as_bytes()).add(word.as_bytes());
        for text in sources {
            key.add(text.as_bytes());
        }
        key
    }

    /// Adds bytes, told apart from those before and after.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    /// Adds numbers.
    pub(crate) fn add_numbers(&mut self, numbers: &[u64]) -> &mut Self {
        self.0.update(&(numbers.len() as u64).to_le_bytes());
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
        self
    }

    /// The name.
    pub(crate) fn finish(&self) -> Hash {
        self.0.finalize()
    }
}

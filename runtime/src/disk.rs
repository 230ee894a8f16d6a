//! Files that are either whole or not there; [`crate::folder`] does the same for folders.
//!
//! Everything is written beside its final place, flushed to the disk, and then renamed over it: whatever stops the program, a name
//! that exists holds finished content. Leftovers are called `.sparsec-*` and are safe to delete.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Fault, Result};

/// How the names of unfinished files and folders begin.
pub(crate) const UNFINISHED: &str = ".sparsec-";

/// Replaces the file at `path` by what `fill` writes.
///
/// # Errors
/// A full disk, missing permissions, or whatever `fill` fails with; the old file is then untouched.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(|error| Fault::writing(parent, &error))?;
    let replace = || -> std::io::Result<()> {
        let mut file = unfinished(parent, path)?;
        let mut buffered = std::io::BufWriter::new(file.as_file_mut());
        fill(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(parent)
    };
    replace().map_err(|error| Fault::writing(path, &error))
}

/// The file at `path` in the making, readable by whom the user's `umask` lets read it once it is finished. What a killed program left of
/// the same file is removed.
fn unfinished(parent: &Path, path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let prefix = format!("{UNFINISHED}{}.", path.file_name().unwrap_or_default().display());
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        // Behind the prefix stands a random part and nothing more: another file's name may begin like this one's.
        let is_ours = entry.file_name().to_string_lossy().strip_prefix(&prefix).is_some_and(|random| !random.contains('.'));
        if is_ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(parent)
}

/// Replaces the file at `path` by `value` as JSON.
///
/// # Errors
/// As [`write_file`].
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write_file(path, |file| serde_json::to_writer_pretty(file, value).map_err(Into::into))
}

/// Replaces the file at `to` by what stands at `from`.
///
/// # Errors
/// As [`write_file`], and when `from` cannot be read.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).map_err(|error| Fault::reading(from, &error))?;
    write_file(to, |file| file.write_all(&bytes))
}

/// Bytes of all files in the folder at `path`.
///
/// # Errors
/// A folder that cannot be read.
pub fn folder_bytes(path: &Path) -> Result<u64> {
    Ok(files(path)?.iter().map(|(_, bytes)| bytes).sum())
}

/// Every file below `path`, sorted, with its size.
pub(crate) fn files(path: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| Fault::reading(path, &error))? {
        let entry = entry.map_err(|error| Fault::reading(path, &error))?;
        let metadata = entry.metadata().map_err(|error| Fault::reading(entry.path(), &error))?;
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    found.sort();
    Ok(found)
}

/// BLAKE3 of a file, or of every file of a folder with its name.
///
/// # Errors
/// A file that cannot be read.
pub fn content_hash(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    if path.is_dir() {
        for (file, bytes) in files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(&bytes.to_le_bytes());
            hash_file(&mut hasher, &file)?;
        }
    } else {
        hash_file(&mut hasher, path)?;
    }
    Ok(hasher.finalize())
}

fn hash_file(hasher: &mut blake3::Hasher, path: &Path) -> Result<()> {
    let opened = File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    opened.map_err(|error| Fault::reading(path, &error))
}

/// The folder that `path` lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames in the folder durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_program_left_of_a_file_goes_with_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join(".sparsec-a.json.x7Yz12"), folder.path().join(".sparsec-a.json.old.x7Yz12"));
        [&ours, &other].iter().for_each(|path| fs::write(path, "half").unwrap());
        write_json(&folder.path().join("a.json"), &1).unwrap();
        assert!(!ours.exists() && other.exists());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        write_file(&path, |file| file.write_all(b"old")).unwrap();
        let fault = write_file(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(fault.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_content_hash_sees_names_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let first = content_hash(folder.path()).unwrap();
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_ne!(content_hash(folder.path()).unwrap(), first);
        assert!(content_hash(&folder.path().join("missing")).is_err());
    }
}

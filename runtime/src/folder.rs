//! A folder that is there whole or not at all.
//!
//! It is filled under another name beside its place and then renamed. Whatever ends a run, nothing half-written stands where
//! something finished is expected.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{Fault, Result, disk};

/// Fills a new folder by `fill` and puts it at `to`. A folder that is there already is replaced if it is empty or holds a file named
/// `mark`, which says that we wrote it.
///
/// # Errors
/// When something else is at `to`, and whatever `fill` or the disk reports; `to` is then as it was.
pub fn write_whole(to: &Path, mark: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    is_occupied(to, mark)?;
    rewrite(to, fill)
}

/// As [`write_whole`], but whatever is at `to` is ours and makes room.
///
/// # Errors
/// As [`write_whole`].
pub(crate) fn rewrite(to: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = disk::parent(to);
    fs::create_dir_all(parent).map_err(|error| Fault::writing(parent, &error))?;
    let beside = beside(to)?;
    let (new, old) = (beside.path().join("new"), beside.path().join("old"));
    fs::create_dir(&new).map_err(|error| Fault::writing(&new, &error))?;
    fill(&new).map_err(|fault| match fault.path.as_ref().and_then(|path| path.strip_prefix(&new).ok()) {
        Some(file) => Fault { path: Some(to.join(file)), ..fault },
        None => fault,
    })?;
    share(&new, &beside.path().join("probe")).and_then(|()| sync(&new)).map_err(|error| Fault::writing(to, &error))?;
    if let Err(error) = swap(to, &new, &old) {
        if old.exists() {
            // The only copy there is: it stays where it is, and goes back when a run comes by.
            let _ = beside.keep();
        }
        return Err(Fault::writing(to, &error));
    }
    sync(parent).map_err(|error| Fault::writing(parent, &error))
}

/// Puts `new` at `to`, and what was there at `old`; back where it was if that fails.
fn swap(to: &Path, new: &Path, old: &Path) -> io::Result<()> {
    let occupied = to.symlink_metadata().is_ok();
    if occupied {
        fs::rename(to, old)?;
    }
    fs::rename(new, to).inspect_err(|_| {
        if occupied {
            // A failure leaves the copy at `old`, which the caller looks for.
            let _ = fs::rename(old, to);
        }
    })
}

/// Whether [`write_whole`] will be able to write `to`, as far as one can see before there is anything to write.
///
/// # Errors
/// When something else is at `to`, or the disk refuses a new folder beside it.
pub fn check(to: &Path, mark: &str) -> Result<()> {
    is_occupied(to, mark)?;
    let mut first_made = to;
    while !disk::parent(first_made).exists() {
        first_made = disk::parent(first_made);
    }
    beside(first_made).map(drop)
}

/// A new folder beside `to`, which vanishes with its value; one that a killed program left there is reclaimed now.
pub(crate) fn beside(to: &Path) -> Result<tempfile::TempDir> {
    let parent = disk::parent(to);
    let prefix = format!("{}{}.", disk::UNFINISHED, to.file_name().unwrap_or_default().display());
    let make = || -> io::Result<tempfile::TempDir> {
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                reclaim(&entry.path())?;
            }
        }
        tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)
    };
    make().map_err(|error| Fault::writing(parent, &error))
}

/// Removes a folder of [`beside`] that a killed program left. What it had put aside goes back to its place, if that is empty: the
/// program was killed between its two renames.
pub(crate) fn reclaim(leftover: &Path) -> io::Result<()> {
    let name = leftover.file_name().unwrap_or_default().to_string_lossy();
    let place = name.strip_prefix(disk::UNFINISHED).and_then(|name| name.rsplit_once('.')).map(|(name, _)| name);
    let old = leftover.join("old");
    if let Some(to) = place.map(|name| leftover.with_file_name(name))
        && old.exists()
        && to.symlink_metadata().is_err()
    {
        fs::rename(&old, &to)?;
    }
    fs::remove_dir_all(leftover)
}

/// Whether there is something at `to`, which then may make room.
fn is_occupied(to: &Path, mark: &str) -> Result<bool> {
    if to.file_name().is_none() {
        return Err(Fault::input("this path names no folder").at(to));
    }
    let occupied = to.symlink_metadata().is_ok();
    if occupied && !replaceable(to, mark) {
        return Err(Fault::input("something that this program did not write is here already")
            .at(to)
            .help("move it away or choose another folder"));
    }
    Ok(occupied)
}

/// Whether what is at `to` may make room.
fn replaceable(to: &Path, mark: &str) -> bool {
    to.is_dir()
        && !to.is_symlink()
        && (to.join(mark).is_file() || fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none()))
}

/// Gives every file of `folder` the permissions of any new file, such as `probe`: some writers make files for their owner alone.
fn share(folder: &Path, probe: &Path) -> io::Result<()> {
    let permissions = File::create(probe)?.metadata()?.permissions();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            fs::set_permissions(path, permissions.clone())?;
        }
    }
    Ok(())
}

/// Waits until the files of `folder` and their names are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_with(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
        move |folder| fs::write(folder.join("mark"), text).map_err(|error| Fault::writing(folder, &error))
    }

    #[test]
    fn a_folder_is_made_replaced_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("out/a");
        write_whole(&to, "mark", fill_with("one")).unwrap();
        write_whole(&to, "mark", fill_with("two")).unwrap();
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "two");
        let fault = write_whole(&to, "mark", |folder| Err(Fault::running("stopped").at(folder.join("mark")))).unwrap_err();
        assert_eq!(fault.path, Some(to.join("mark")), "not the name that it had in the making");
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "two");
        assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_killed_program_left_vanishes() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("a");
        let _ = beside(&to).unwrap().keep();
        let other = beside(&root.path().join("ab")).unwrap();
        write_whole(&to, "mark", fill_with("one")).unwrap();
        assert!(other.path().is_dir());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_there_before_is_never_lost() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("a.b");
        write_whole(&to, "mark", fill_with("one")).unwrap();
        // The second rename fails.
        swap(&to, &root.path().join("missing"), &root.path().join("old")).unwrap_err();
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "one");
        // A kill between the renames: what was put aside goes back as soon as somebody looks, and only then may make room.
        for look in [|to: &Path| check(to, "mark").unwrap(), |to: &Path| write_whole(to, "mark", fill_with("two")).unwrap()] {
            let left = beside(&to).unwrap().keep();
            fs::rename(&to, left.join("old")).unwrap();
            look(&to);
            assert!(to.join("mark").is_file());
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "two");
        let left = beside(&to).unwrap().keep();
        fs::rename(&to, left.join("old")).unwrap();
        reclaim(&left).unwrap();
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "two");
    }

    #[test]
    fn files_are_as_readable_as_any_new_file() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("a");
        let secretive = |folder: &Path| {
            let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| Fault::writing(folder, &error))?;
            file.persist(folder.join("mark")).map(|_| ()).map_err(|error| Fault::writing(folder, &error.error))
        };
        write_whole(&to, "mark", secretive).unwrap();
        let plain = File::create(root.path().join("plain")).unwrap().metadata().unwrap().permissions();
        assert_eq!(fs::metadata(to.join("mark")).unwrap().permissions(), plain);
    }

    #[test]
    fn what_others_wrote_stays() {
        let root = tempfile::tempdir().unwrap();
        let theirs = root.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        write_whole(&theirs, "mark", fill_with("into an empty folder")).unwrap();
        fs::remove_file(theirs.join("mark")).unwrap();
        fs::write(theirs.join("thesis.txt"), "three years").unwrap();
        let fault = write_whole(&theirs, "mark", fill_with("ours")).unwrap_err();
        assert_eq!(fault.path.as_deref(), Some(theirs.as_path()));
        assert_eq!(check(&theirs, "mark").unwrap_err().message, fault.message);
        let below_a_file = theirs.join("thesis.txt/chapter/one");
        assert_eq!(check(&below_a_file, "mark").unwrap_err().kind, crate::FaultKind::Environment);
        check(&root.path().join("a/new/folder"), "mark").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "a check leaves nothing");
        assert!(write_whole(&theirs.join("thesis.txt"), "mark", fill_with("ours")).is_err());
        assert_eq!(fs::read_to_string(theirs.join("thesis.txt")).unwrap(), "three years");
    }
}

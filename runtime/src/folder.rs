//! A folder that is there whole or not at all.
//!
//! It is filled under another name beside its place and then renamed. Whatever ends a run, nothing half-written stands where
//! something finished is expected.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{Fault, Result};

/// Fills a new folder by `fill` and puts it at `to`. A folder that is there already is replaced if it is empty or holds a file named
/// `mark`, which says that we wrote it.
///
/// # Errors
/// When something else is at `to`, and whatever `fill` or the disk reports; `to` is then as it was.
pub fn write_whole(to: &Path, mark: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = to.file_name().ok_or_else(|| Fault::input("this path names no folder").at(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let occupied = to.symlink_metadata().is_ok();
    if occupied && !replaceable(to, mark) {
        return Err(Fault::input("something that this program did not write is here already")
            .at(to)
            .help("move it away or choose another folder"));
    }
    fs::create_dir_all(parent).map_err(|error| Fault::writing(parent, &error))?;
    let beside = tempfile::Builder::new()
        .prefix(&format!(".{}.", name.to_string_lossy()))
        .tempdir_in(parent)
        .map_err(|error| Fault::writing(parent, &error))?;
    let (new, old) = (beside.path().join("new"), beside.path().join("old"));
    fs::create_dir(&new).map_err(|error| Fault::writing(&new, &error))?;
    fill(&new)?;
    share(&new, &beside.path().join("probe")).and_then(|()| sync(&new)).map_err(|error| Fault::writing(to, &error))?;
    if occupied {
        fs::rename(to, &old).map_err(|error| Fault::writing(to, &error))?;
    }
    fs::rename(&new, to).map_err(|error| Fault::writing(to, &error))?;
    sync(parent).map_err(|error| Fault::writing(parent, &error))
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
        write_whole(&to, "mark", |_| Err(Fault::running("stopped"))).unwrap_err();
        assert_eq!(fs::read_to_string(to.join("mark")).unwrap(), "two");
        assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 1, "nothing is left beside it");
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
        assert!(write_whole(&theirs.join("thesis.txt"), "mark", fill_with("ours")).is_err());
        assert_eq!(fs::read_to_string(theirs.join("thesis.txt")).unwrap(), "three years");
    }
}

//! Who may read and write the files of a cache.

#[cfg(not(unix))]
pub(super) use refused::{create_own, make_private, open_own};
#[cfg(unix)]
pub(super) use unix::{create_own, make_private, open_own};

#[cfg(unix)]
mod unix {
    //! By owner and mode.

    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io::{Error, Result};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    /// Makes `folder` if it is missing, and refuses one that somebody else could have written to.
    pub(in super::super) fn make_private(folder: &Path) -> std::result::Result<(), String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.and_then(|()| folder.symlink_metadata()).map_err(|error| error.to_string()).and_then(|metadata| {
            if !metadata.is_dir() {
                return Err("not a folder; remove it".into());
            }
            check(&metadata).map_err(|what| format!("{what}; remove it, or choose another place"))
        })
    }

    /// Opens a file that is ours alone.
    pub(in super::super) fn open_own(path: &Path) -> Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        match check(&metadata) {
            Ok(()) if metadata.is_file() => Ok(file),
            Ok(()) => Err(Error::other("not a file")),
            Err(what) => Err(Error::other(what)),
        }
    }

    /// Makes a new file that is ours alone.
    pub(in super::super) fn create_own(path: &Path) -> Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Fails if somebody else owns it or may do anything with it.
    fn check(metadata: &Metadata) -> std::result::Result<(), &'static str> {
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err("it belongs to another user");
        }
        if metadata.mode() & 0o077 != 0 { Err("other users may read or write it") } else { Ok(()) }
    }
}

#[cfg(not(unix))]
mod refused {
    //! Without owners and rights there is no cache.

    use std::fs::File;
    use std::io::{Error, ErrorKind, Result};
    use std::path::Path;

    pub(in super::super) fn make_private(_folder: &Path) -> std::result::Result<(), String> {
        Err("machine code is only kept where files have owners".into())
    }

    pub(in super::super) fn open_own(_path: &Path) -> Result<File> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    pub(in super::super) fn create_own(_path: &Path) -> Result<File> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

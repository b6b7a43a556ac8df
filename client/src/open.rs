//! Opens files by path.

use crate::error::Error;
use dmabufio_core::error::{Error as CoreError, ErrorKind};
use dmabufio_core::file::describe;
use rustix::fs::{
    fcntl_getfl, fcntl_setfl, fstat, openat, statat, AtFlags, FileType, Mode, OFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{metadata, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Opens a regular file for reading, with further `flags`. Never waits for the other end of a pipe.
/// Opens no device, because the open of a device may have side effects.
///
/// # Errors
/// `BadDescriptor` with the type of the file if it is not a regular file.
pub fn open_regular(path: &Path, flags: OFlags) -> Result<File, Error> {
    let failed = |error: io::Error| {
        // A file name may contain control characters for a terminal.
        let what = format!("open {path:?}");
        match Errno::from_io_error(&error) {
            Some(errno) => CoreError::from_errno(what, errno),
            None => CoreError::new(ErrorKind::Io, format!("{what}: {error}")),
        }
    };
    check_regular(path, &metadata(path).map_err(failed)?)?;
    // Another file may have taken the name since the check.
    let careful = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(careful.bits() as i32).open(path);
    let file = file.map_err(failed)?;
    check_regular(path, &file.metadata().map_err(failed)?)?;
    clear_nonblock(&file).map_err(|errno| failed(errno.into()))?;
    Ok(file)
}

/// Opens the regular file `name` of `folder` as [`open_regular`] does, but no file that a symbolic link
/// leads to. Errors call it `path`.
pub(crate) fn open_regular_at(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
) -> Result<File, Error> {
    let failed = |errno| CoreError::from_errno(format!("open {path:?}"), errno);
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    check_type(path, FileType::from_raw_mode(stat.st_mode))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let careful = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(folder, name, careful, Mode::empty()).map_err(failed)?;
    let stat = fstat(&file).map_err(failed)?;
    check_type(path, FileType::from_raw_mode(stat.st_mode))?;
    clear_nonblock(&file).map_err(failed)?;
    Ok(File::from(file))
}

/// A path to the open file `fd`.
pub(crate) fn in_proc(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Receivers of the descriptor expect blocking reads.
fn clear_nonblock(file: impl AsFd) -> rustix::io::Result<()> {
    fcntl_getfl(&file).and_then(|now| fcntl_setfl(&file, now - OFlags::NONBLOCK))
}

fn check_regular(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    check_type(path, FileType::from_raw_mode(metadata.mode()))
}

fn check_type(path: &Path, file_type: FileType) -> Result<(), Error> {
    match file_type {
        FileType::RegularFile => Ok(()),
        other => {
            let what = format!("{path:?}: {}; name a regular file", describe(other));
            Err(CoreError::new(ErrorKind::BadDescriptor, what).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mknodat, CWD};
    use std::fs::{create_dir, write};
    use std::os::unix::net::UnixListener;
    use tempfile::tempdir;

    #[test]
    fn what_is_no_regular_file_is_refused_by_its_type() {
        let dir = tempdir().expect("a folder");
        let at = |name| dir.path().join(name);
        create_dir(at("folder")).expect("mkdir");
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("mkfifo");
        let _listener = UnixListener::bind(at("socket")).expect("bind");
        for (path, what) in [
            (at("folder"), "a directory"),
            (at("pipe"), "a pipe"),
            (at("socket"), "a socket"),
            ("/dev/null".into(), "a character device"),
        ] {
            let error = open_regular(&path, OFlags::empty()).expect_err(what);
            assert_eq!(error.kind(), Some(ErrorKind::BadDescriptor), "{what}");
            assert_eq!(error.to_string(), format!("{path:?}: {what}; name a regular file"));
        }
    }

    #[test]
    fn regular_file_is_opened_without_o_nonblock() {
        let dir = tempdir().expect("a folder");
        let path = dir.path().join("file");
        write(&path, "content").expect("write");
        let file = open_regular(&path, OFlags::empty()).expect("open");
        assert!(!fcntl_getfl(&file).expect("flags").contains(OFlags::NONBLOCK));
    }
}

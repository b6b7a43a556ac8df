//! Replaces a file in one step.
//!
//! The new file has no name until it is complete, if the file system supports this (`O_TMPFILE`).
//! Then nothing stays behind, however the process ends, with one exception: Linux puts a nameless
//! file in the place of another in two steps, and `SIGKILL` or a loss of power between them leaves
//! the complete new file beside the old one, as `.dmabufio-*`. Without `O_TMPFILE` it has such a
//! name from the start, which an error or a signal removes.
//!
//! ```no_run
//! use dmabufio_client::replace::{Cleanup, Replacement};
//! use dmabufio_client::{Client, Transfer};
//! use dmabufio_core::extent::{Direction, Extent};
//! use std::os::fd::AsFd;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::service()?;
//! let buffer = client.allocate(1 << 20, "frame")?;
//! let new = Replacement::new(Path::new("frame.raw"), Cleanup::default())?;
//! new.preallocate(buffer.size())?;
//! let extents = [Extent { file_offset: 0, buffer_offset: 0, len: buffer.size() }];
//! client.transfer(&Transfer::new(
//!     buffer.as_fd(),
//!     new.file().as_fd(),
//!     &extents,
//!     Direction::Save,
//! ))?;
//! new.file().sync_all()?;
//! new.publish()?;
//! new.sync_name()?;
//! # Ok(())
//! # }
//! ```
//!
//! See docs/design/0001-first-slice.md#the-client-makes-saves-atomic

mod attributes;
mod cleanup;

pub use cleanup::Cleanup;

use crate::error::{errno, Error};
use crate::open::in_proc;
use attributes::adopt;
use cleanup::Link;
use dmabufio_core::error::{During, Error as CoreError, ErrorKind, Result as CoreResult};
use dmabufio_core::file::describe;
use rustix::fs::{
    accessat, fallocate, fstat, linkat, openat, renameat, renameat_with, statat, Access, AtFlags,
    FallocateFlags, FileType, Mode, OFlags, RenameFlags, Stat, CWD,
};
use rustix::io::{retry_on_intr, Errno};
use std::ffi::{OsStr, OsString};
use std::fs::{read_link, symlink_metadata, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// What temporary names begin with.
const TEMPORARY: &str = ".dmabufio-";

/// A new, empty file that will take a name.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    folder: OwnedFd,
    name: OsString,
    replaces: bool,
    cleanup: Cleanup,
}

impl Replacement {
    /// For the name `path`. If a file has this name, the new one gets its owner, group,
    /// permissions, access control list, attributes of users and label. If it is a symbolic link,
    /// the file that it leads to is meant.
    ///
    /// # Errors
    /// `BadDescriptor` if `path` leads to something that is no regular file; the kernel's if the file
    /// may not be written, or if the new one cannot be made or cannot get all of that.
    pub fn new(path: &Path, cleanup: Cleanup) -> Result<Self, Error> {
        let (path, existing) = find(path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let name = path.file_name().ok_or_else(|| bad("names no file"))?.to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, parent, flags, Mode::empty())
            .during(|| format!("open the folder {parent:?}"))?;
        let stat = match &existing {
            Some(existing) => Some(check(existing.as_fd(), &folder, &name)?),
            None => None,
        };
        // Nobody else may open it until it has its final owner.
        let mode = Mode::from_raw_mode(if stat.is_some() { 0o600 } else { 0o666 });
        let file =
            create(&folder, mode, &cleanup).during(|| format!("make a file in {parent:?}"))?;
        let new = Self { file, folder, name, replaces: stat.is_some(), cleanup };
        if let (Some(existing), Some(stat)) = (existing, stat) {
            adopt(&new.file, existing.as_fd(), &stat)?;
        }
        Ok(new)
    }

    /// For `name` in `folder`, for its owner only (0600). It takes the place of whatever has the name
    /// then, also of a symbolic link, but not of a folder.
    pub(crate) fn within(folder: BorrowedFd<'_>, name: &OsStr) -> CoreResult<Self> {
        let cleanup = Cleanup::default();
        let folder = folder.try_clone_to_owned().map_err(errno).during(|| "open the folder")?;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            create(&folder, mode, &cleanup).during(|| format!("make a file for {name:?}"))?;
        Ok(Self { file, folder, name: name.to_owned(), replaces: true, cleanup })
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file `len` bytes long and reserves their space, so that a full disk is an error
    /// before the first byte is saved. A file system that cannot reserve only gets the length.
    ///
    /// # Errors
    /// `NoSpace`, and whatever else the kernel reports.
    pub fn preallocate(&self, len: u64) -> Result<(), Error> {
        if len == 0 {
            // There is no reservation of no bytes.
            return Ok(());
        }
        let what = || format!("reserve {len} bytes");
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.file.set_len(len).map_err(errno).during(what)?;
            }
            reserved => reserved.during(what)?,
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// The kernel's; `EEXIST` if the name belonged to no file at first and belongs to one now, which
    /// stays.
    pub fn publish(&self) -> Result<(), Error> {
        let Self { file, folder, name, replaces, cleanup } = self;
        let named = cleanup.hold(|link| {
            if link.is_none() && !replaces {
                return link_as(file, folder, name);
            }
            if link.is_none() {
                let temporary = temporary_name(0);
                link_as(file, folder, &temporary)?;
                *link = Some(Link { folder: folder.try_clone().map_err(errno)?, name: temporary });
            }
            let Some(temporary) = &link.as_ref().map(|link| link.name.clone()) else {
                return Ok(());
            };
            if *replaces {
                return renameat(folder, temporary, folder, name);
            }
            match renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
                // The file system has no such flag.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(folder, temporary, folder, name),
                outcome => outcome,
            }
        });
        named.during(|| match named {
            _ if *replaces => "replace the file",
            Err(Errno::EXIST) => {
                "somebody made a file of this name meanwhile, which stays; save again to replace it"
            }
            _ => "name the new file",
        })?;
        Ok(())
    }

    /// Waits until the name is on stable storage: it is the folder's data.
    pub fn sync_name(&self) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.folder, ".", flags, Mode::empty());
        let synced = folder.and_then(|folder| File::from(folder).sync_all().map_err(errno));
        synced.during(|| "sync the folder")?;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        self.cleanup.hold(|link| drop(link.take()));
    }
}

/// The name that `path` leads to, and the file there, if there is one.
fn find(path: &Path) -> CoreResult<(PathBuf, Option<OwnedFd>)> {
    let is_link = symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    // The kernel follows links, and refuses dangerous ones.
    let existing = match openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(existing) => existing,
        Err(Errno::NOENT) if is_link => {
            let what = "a symbolic link to a file that does not exist; name that file instead";
            return Err(bad(what));
        }
        Err(Errno::NOENT) if path.as_os_str().as_bytes().ends_with(b"/") => {
            return Err(bad("names a folder that does not exist"));
        }
        Err(Errno::NOENT) => return Ok((path.to_owned(), None)),
        Err(errno) => return Err(errno).during(|| "look at what it is"),
    };
    let path = match is_link {
        true => {
            let target = read_link(in_proc(existing.as_fd())).map_err(errno);
            target.during(|| "see where the link leads to")?
        }
        false => path.to_owned(),
    };
    Ok((path, Some(existing)))
}

/// Checks that `existing`, under `name` in `folder`, can be replaced by whoever may write it.
fn check(existing: BorrowedFd<'_>, folder: &OwnedFd, name: &OsString) -> CoreResult<Stat> {
    let stat = fstat(existing).during(|| "stat")?;
    let file_type = FileType::from_raw_mode(stat.st_mode);
    if file_type != FileType::RegularFile {
        return Err(bad(format!("{}, no regular file", describe(file_type))));
    }
    let there = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).during(|| "stat")?;
    if (there.st_dev, there.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(CoreError::new(ErrorKind::Busy, "moved while it was looked at"));
    }
    // Only the folder's permissions would be asked to replace it. Android can ask for the real user
    // only, who is also the effective one: the command is never set-user-ID.
    accessat(folder, name, Access::WRITE_OK, AtFlags::empty()).during(|| "may not be written")?;
    Ok(stat)
}

/// Makes a file without a name in `folder`, or one with a temporary name.
fn create(folder: &OwnedFd, mode: Mode, cleanup: &Cleanup) -> rustix::io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
    match openat(folder, ".", flags, mode) {
        // The file system, or the kernel, cannot.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        made => return made.map(File::from),
    }
    create_named(folder, mode, cleanup)
}

fn create_named(folder: &OwnedFd, mode: Mode, cleanup: &Cleanup) -> rustix::io::Result<File> {
    cleanup.hold(|link| {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let mut attempt = 0;
        loop {
            let name = temporary_name(attempt);
            match openat(folder, &name, flags, mode) {
                Err(Errno::EXIST) if attempt < 16 => attempt += 1,
                Err(errno) => return Err(errno),
                Ok(made) => {
                    *link = Some(Link { folder: folder.try_clone().map_err(errno)?, name });
                    return Ok(File::from(made));
                }
            }
        }
    })
}

/// A name that is very probably unique.
fn temporary_name(attempt: u32) -> OsString {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    format!("{TEMPORARY}{:x}-{now:x}-{attempt}", process::id()).into()
}

/// Whether a process that was killed may have left `name` behind.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(TEMPORARY.as_bytes())
}

fn bad(what: impl Into<String>) -> CoreError {
    CoreError::new(ErrorKind::BadDescriptor, what)
}

/// Gives `file`, which has no name, the name `name` in `folder`.
fn link_as(file: &File, folder: &OwnedFd, name: &OsString) -> rustix::io::Result<()> {
    linkat(CWD, in_proc(file.as_fd()), folder, name, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read, read_dir, write};
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    use tempfile::{tempdir, TempDir};

    /// A file for the name `target`, as on a file system without `O_TMPFILE`.
    fn named(dir: &TempDir, replaces: bool) -> Replacement {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let folder = openat(CWD, dir.path(), flags, Mode::empty()).expect("open");
        let cleanup = Cleanup::default();
        let file = create_named(&folder, Mode::RUSR | Mode::WUSR, &cleanup).expect("create");
        (&file).write_all(b"new").expect("write");
        Replacement { file, folder, name: "target".into(), replaces, cleanup }
    }

    fn count(dir: &TempDir) -> usize {
        read_dir(dir.path()).expect("list").count()
    }

    #[test]
    fn temporary_name_becomes_the_name() {
        let dir = tempdir().expect("a folder");
        for replaces in [false, true] {
            named(&dir, replaces).publish().expect("publish");
            assert_eq!(read(dir.path().join("target")).expect("read"), b"new");
            assert_eq!(count(&dir), 1);
        }
    }

    #[test]
    fn temporary_name_goes_if_the_file_is_not_wanted() {
        let dir = tempdir().expect("a folder");
        let file = named(&dir, true);
        assert_eq!(count(&dir), 1);
        drop(file);
        assert_eq!(count(&dir), 0);
    }

    #[test]
    fn file_that_somebody_made_meanwhile_stays() {
        let dir = tempdir().expect("a folder");
        let unnamed = Replacement::new(&dir.path().join("target"), Cleanup::default());
        let unnamed = unnamed.expect("a file");
        write(dir.path().join("target"), "other").expect("write");
        for file in [unnamed, named(&dir, false)] {
            let Err(Error::Failed(error)) = file.publish() else { panic!("no error") };
            assert_eq!(error.errno(), Some(Errno::EXIST));
            assert!(error.to_string().starts_with("somebody made a file of this name"), "{error}");
        }
        assert_eq!(read(dir.path().join("target")).expect("read"), b"other");
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn reserved_space_is_there_before_anything_is_saved() {
        let dir = tempdir().expect("a folder");
        let file = Replacement::new(&dir.path().join("target"), Cleanup::default());
        let file = file.expect("a file");
        file.preallocate(0).expect("nothing to reserve");
        file.preallocate(1 << 20).expect("reserve");
        let metadata = file.file().metadata().expect("stat");
        assert_eq!((metadata.len(), metadata.blocks() >= 2048), (1 << 20, true));
        let Err(Error::Failed(error)) = file.preallocate(1 << 62) else { panic!("no error") };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    }
}

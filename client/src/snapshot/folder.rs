//! The folder of a store. Nothing in it is trusted to be a regular file.

use super::task::{TaskId, Variant};
use crate::error::{errno, Error};
use crate::open::open_regular_at;
use crate::replace::is_temporary;
use dmabufio_core::error::{During, Result};
use rustix::fs::{flock, openat, unlinkat, AtFlags, Dir, FlockOperation, Mode, OFlags, CWD};
use rustix::io::{retry_on_intr, Errno};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A regular file in the folder.
pub(super) struct Found {
    pub name: OsString,
    pub metadata: Metadata,
}

#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// While it lives, no other process takes the files that this one is writing for leftovers.
#[derive(Debug)]
#[must_use = "dropping it ends the protection"]
pub(super) struct Writing {
    _lock: OwnedFd,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self> {
        let fd = retry_on_intr(|| openat(CWD, path, FLAGS, Mode::empty()))
            .during(|| format!("open the folder {path:?}"))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// What errors call the file `name`.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    pub fn open_file(&self, name: &OsStr) -> std::result::Result<File, Error> {
        open_regular_at(self.as_fd(), name, &self.path_of(name))
    }

    /// Another description of the open folder, because locks belong to those.
    fn reopen(&self) -> Result<OwnedFd> {
        openat(&self.fd, ".", FLAGS, Mode::empty()).during(|| format!("open {:?}", self.path))
    }

    pub fn begin_writing(&self) -> Result<Writing> {
        let lock = self.reopen()?;
        let locked = retry_on_intr(|| flock(&lock, FlockOperation::LockShared));
        locked.during(|| format!("lock {:?}", self.path))?;
        Ok(Writing { _lock: lock })
    }

    /// Removes what a process that was killed has left behind, unless somebody is writing now: then a
    /// later call does.
    pub fn recover(&self) -> Result<()> {
        let lock = self.reopen()?;
        match retry_on_intr(|| flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) => return Ok(()),
            locked => locked.during(|| format!("lock {:?}", self.path))?,
        }
        for Found { name, .. } in self.files()? {
            let orphan = match TaskId::of_file_name(name.as_bytes()) {
                Some((task, Variant::Reduced)) => {
                    self.stat(&task.file_name(Variant::Full))?.is_none()
                }
                _ => false,
            };
            if orphan || is_temporary(name.as_bytes()) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The regular files.
    pub fn files(&self) -> Result<Vec<Found>> {
        let what = || format!("list {:?}", self.path);
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.fd).during(what)? {
            let name = OsStr::from_bytes(entry.during(what)?.file_name().to_bytes()).to_owned();
            if let Some(metadata) = self.stat(&name)? {
                files.push(Found { name, metadata });
            }
        }
        Ok(files)
    }

    /// `None` if `name` is no regular file.
    pub fn stat(&self, name: &OsStr) -> Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let stat = match openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => file.and_then(|file| File::from(file).metadata().map_err(errno)),
        };
        let metadata = stat.during(|| format!("stat {:?}", self.path_of(name)))?;
        Ok(metadata.is_file().then_some(metadata))
    }

    /// Whether there was such a regular file to remove.
    pub fn remove(&self, name: &OsStr) -> Result<bool> {
        if self.stat(name)?.is_none() {
            return Ok(false);
        }
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            // Somebody else was faster.
            Err(Errno::NOENT) => Ok(false),
            removed => {
                removed.during(|| format!("remove {:?}", self.path_of(name)))?;
                Ok(true)
            }
        }
    }

    /// Waits until the names are on stable storage.
    pub fn sync(&self) -> Result<()> {
        let folder = File::from(self.reopen()?);
        folder.sync_all().map_err(errno).during(|| format!("sync {:?}", self.path))
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

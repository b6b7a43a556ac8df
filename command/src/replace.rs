//! Replaces a file in one step.
//!
//! The new file has no name until it is complete, if the file system supports this (`O_TMPFILE`).
//! Then nothing stays behind, however the process ends. Elsewhere it has a temporary name, which an
//! error or a signal removes.
//!
//! See docs/design/0001-first-slice.md#the-client-makes-saves-atomic

use crate::name::shown;
use anyhow::{bail, ensure, Context, Result};
use dmabufio_core::file::describe;
use dmabufio_core::sys::signal::{die_by, Termination};
use rustix::fs::{
    accessat, fsetxattr, fstat, getxattr, linkat, listxattr, openat, renameat, renameat_with,
    statat, unlinkat, Access, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, XattrFlags, CWD,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{read_link, symlink_metadata, File, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{fchown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The bits of a mode that the new file gets: no set-user-ID, no set-group-ID.
const PERMISSIONS: u32 = 0o777;
/// The most bytes of a list of extended attributes, and of a value (`XATTR_LIST_MAX`).
const LONGEST_XATTR: usize = 64 << 10;
const ACL: &[u8] = b"system.posix_acl_access";
const LABEL: &[u8] = b"security.selinux";

/// A temporary name.
struct Link {
    folder: OwnedFd,
    name: OsString,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Another process may have removed it.
        let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

/// The current temporary name, if there is one. Signals that end the process wait for the lock, and
/// then remove the name.
#[derive(Clone)]
pub struct Cleanup(Arc<Mutex<Option<Link>>>);

impl Cleanup {
    /// Call it before any other thread exists.
    pub fn start() -> Result<Self> {
        let signals = Termination::block_for_command().context("block signals")?;
        let cleanup = Self(Arc::default());
        let link = cleanup.0.clone();
        let watch = move || {
            let Ok(signal) = signals.wait() else { return };
            let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
            drop(link.take());
            // Under the lock: no file gets a temporary name any more.
            die_by(signal)
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch).context("start a thread")?;
        Ok(cleanup)
    }

    /// Calls `action` with the temporary name, while no signal ends the process.
    fn hold<T>(&self, action: impl FnOnce(&mut Option<Link>) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A new, empty file that will take a name.
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
    /// the new file replaces the target of the link.
    pub fn new(path: &Path, cleanup: Cleanup) -> Result<Self> {
        let (path, existing) = find(path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let name = path.file_name().context("names no file")?.to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, parent, flags, Mode::empty())
            .with_context(|| format!("open the folder {}", shown(parent)))?;
        let stat = match &existing {
            Some(existing) => Some(check(existing.as_fd(), &folder, &name)?),
            None => None,
        };
        // Nobody else may open it until it has its final owner.
        let mode = Mode::from_raw_mode(if stat.is_some() { 0o600 } else { 0o666 });
        let file = create(&folder, mode, &cleanup)
            .with_context(|| format!("make a file in {}", shown(parent)))?;
        let new = Self { file, folder, name, replaces: stat.is_some(), cleanup };
        if let (Some(existing), Some(stat)) = (existing, stat) {
            new.adopt(existing.as_fd(), &stat)?;
        }
        Ok(new)
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name.
    pub fn publish(&self) -> Result<()> {
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
        named.context(match named {
            _ if *replaces => "replace the file",
            Err(Errno::EXIST) => {
                "somebody made a file of this name meanwhile, which stays; save again to replace it"
            }
            _ => "name the new file",
        })
    }

    /// Waits until the name is on stable storage: it is the folder's data.
    pub fn sync_name(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.folder, ".", flags, Mode::empty());
        let synced = folder.map_err(Into::into).and_then(|folder| File::from(folder).sync_all());
        synced.context("sync the folder")
    }

    /// Copies the access rights and the attributes of users from `existing`. Copies no rights of a
    /// program (capabilities), and no signature of the content.
    fn adopt(&self, existing: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
        let file = &self.file;
        let new = fstat(file).context("stat the new file")?;
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        if (new.st_uid, new.st_gid) != (uid, gid) {
            fchown(file, Some(uid), Some(gid)).with_context(|| {
                format!("give the file that is to replace it to user {uid} and group {gid}")
            })?;
        }
        for name in xattrs(existing).context("list its extended attributes")? {
            let bytes = name.as_bytes();
            if bytes != ACL && bytes != LABEL && !bytes.starts_with(b"user.") {
                continue;
            }
            let kept = keep_xattr(existing, file, &name);
            // The policy always gives the new file a label.
            if bytes != LABEL {
                let name = shown(Path::new(OsStr::from_bytes(bytes)));
                kept.with_context(|| format!("keep its extended attribute {name}"))?;
            }
        }
        let mode = stat.st_mode & PERMISSIONS;
        if fstat(file).context("stat the new file")?.st_mode & 0o7777 != mode {
            file.set_permissions(Permissions::from_mode(mode)).context("keep its permissions")?;
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        self.cleanup.hold(|link| drop(link.take()));
    }
}

/// The name at the end of the links of `path`, and the file there, if there is one.
fn find(path: &Path) -> Result<(PathBuf, Option<OwnedFd>)> {
    let is_link = symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    // The kernel follows links, and refuses dangerous ones.
    let existing = match openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(existing) => existing,
        Err(Errno::NOENT) if is_link => {
            bail!("a symbolic link to a file that does not exist; name that file instead")
        }
        Err(Errno::NOENT) if path.as_os_str().as_bytes().ends_with(b"/") => {
            bail!("names a folder that does not exist")
        }
        Err(Errno::NOENT) => return Ok((path.to_owned(), None)),
        Err(errno) => return Err(errno).context("look at what it is"),
    };
    let path = match is_link {
        true => read_link(in_proc(existing.as_fd())).context("see where the link leads to")?,
        false => path.to_owned(),
    };
    Ok((path, Some(existing)))
}

/// Checks that the user may write `existing`, which has the name `name` in `folder`.
fn check(existing: BorrowedFd<'_>, folder: &OwnedFd, name: &OsString) -> Result<Stat> {
    let stat = fstat(existing).context("stat")?;
    let file_type = FileType::from_raw_mode(stat.st_mode);
    ensure!(file_type == FileType::RegularFile, "{}, no regular file", describe(file_type));
    let there = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).context("stat")?;
    let same = (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino);
    ensure!(same, "moved while it was looked at");
    // A rename checks only the permissions of the folder. Android can check for the real user only,
    // who is also the effective user: the command is never set-user-ID.
    accessat(folder, name, Access::WRITE_OK, AtFlags::empty()).context("may not be written")?;
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
    format!(".dmabufio-{:x}-{now:x}-{attempt}", process::id()).into()
}

/// Gives `file`, which has no name, the name `name` in `folder`.
fn link_as(file: &File, folder: &OwnedFd, name: &OsString) -> rustix::io::Result<()> {
    linkat(CWD, in_proc(file.as_fd()), folder, name, AtFlags::SYMLINK_FOLLOW)
}

/// A path to the open file `fd`.
fn in_proc(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// The names of the extended attributes of `file`, which may be open with `O_PATH`.
fn xattrs(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    // Of `c_char`, which is signed on some architectures.
    let mut list = vec![0; LONGEST_XATTR];
    let len = match listxattr(in_proc(file), &mut list) {
        Err(Errno::OPNOTSUPP) => 0,
        len => len?,
    };
    let bytes: Vec<u8> = list[..len].iter().map(|c| c.to_ne_bytes()[0]).collect();
    Ok(bytes.split_inclusive(|&byte| byte == 0).filter_map(name_of).collect())
}

fn name_of(bytes: &[u8]) -> Option<CString> {
    CStr::from_bytes_with_nul(bytes).ok().map(CStr::to_owned)
}

/// Copies an extended attribute, unless the new file has the same already.
fn keep_xattr(existing: BorrowedFd<'_>, file: &File, name: &CStr) -> rustix::io::Result<()> {
    let read = |fd: BorrowedFd<'_>| {
        let mut value = vec![0; LONGEST_XATTR];
        let len = getxattr(in_proc(fd), name, &mut value)?;
        value.truncate(len);
        Ok::<_, Errno>(value)
    };
    let value = read(existing)?;
    match read(file.as_fd()) {
        Ok(known) if known == value => Ok(()),
        _ => fsetxattr(file, name, &value, XattrFlags::empty()),
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read, read_dir, write};
    use std::io::Write;
    use tempfile::{tempdir, TempDir};

    /// A file for the name `target`, as on a file system without `O_TMPFILE`.
    fn named(dir: &TempDir, replaces: bool) -> Replacement {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let folder = openat(CWD, dir.path(), flags, Mode::empty()).expect("open");
        let cleanup = Cleanup(Arc::default());
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
        let unnamed = Replacement::new(&dir.path().join("target"), Cleanup(Arc::default()));
        let unnamed = unnamed.expect("a file");
        write(dir.path().join("target"), "other").expect("write");
        for file in [unnamed, named(&dir, false)] {
            let error = file.publish().expect_err("an error");
            assert_eq!(error.downcast_ref(), Some(&Errno::EXIST));
            assert!(error.to_string().starts_with("somebody made a file of this name"), "{error}");
        }
        assert_eq!(read(dir.path().join("target")).expect("read"), b"other");
        assert_eq!(count(&dir), 1);
    }
}

//! What a new file takes over from the one that it replaces, beside the name.

use crate::error::errno;
use crate::open::in_proc;
use dmabufio_core::error::{During, Result};
use rustix::fs::{fsetxattr, fstat, getxattr, listxattr, Stat, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{fchown, PermissionsExt};

/// What a mode keeps: no set-user-ID, no set-group-ID.
const PERMISSIONS: u32 = 0o777;
/// The most bytes of a list of extended attributes, and of a value (`XATTR_LIST_MAX`).
const LONGEST_XATTR: usize = 64 << 10;
const ACL: &[u8] = b"system.posix_acl_access";
const LABEL: &[u8] = b"security.selinux";

/// Gives `file` from `existing`, whose `stat` it is, what decides who may do what with it, and what users noted on it.
/// Not what lets a program act as somebody else, and no signature over the content.
pub fn adopt(file: &File, existing: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let new = fstat(file).during(|| "stat the new file")?;
    let (uid, gid) = (stat.st_uid, stat.st_gid);
    if (new.st_uid, new.st_gid) != (uid, gid) {
        fchown(file, Some(uid), Some(gid)).map_err(errno).during(|| {
            format!("give the file that is to replace it to user {uid} and group {gid}")
        })?;
    }
    for name in xattrs(existing).during(|| "list its extended attributes")? {
        let bytes = name.as_bytes();
        if bytes != ACL && bytes != LABEL && !bytes.starts_with(b"user.") {
            continue;
        }
        let kept = keep_xattr(existing, file, &name);
        // The policy gives the new file a label in any case.
        if bytes != LABEL {
            kept.during(|| format!("keep its extended attribute {name:?}"))?;
        }
    }
    let mode = stat.st_mode & PERMISSIONS;
    if fstat(file).during(|| "stat the new file")?.st_mode & 0o7777 != mode {
        let kept = file.set_permissions(Permissions::from_mode(mode)).map_err(errno);
        kept.during(|| "keep its permissions")?;
    }
    Ok(())
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

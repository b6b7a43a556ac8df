//! Copies between files in the kernel, for comparison in the benchmark. rustix has safe functions
//! for them, but AOSP's rustix has no pipes, and `sendfile` for Linux only.

use crate::sys::last_errno;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{self, Errno};
use std::ptr;

/// `pipe2(O_CLOEXEC)` and `fcntl(F_SETPIPE_SZ)`—A pipe that holds `size` bytes: the end to read
/// from, and the end to write to.
///
/// # References
///  - `pipe(2)`
///  - `fcntl(2)`
#[doc(alias = "pipe2")]
#[doc(alias = "F_SETPIPE_SZ")]
pub fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let size = i32::try_from(size).map_err(|_| Errno::INVAL)?;
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors that the call writes, and is not kept.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: the call succeeded, so both are open and nobody else owns them.
    let (out, into) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    // SAFETY: takes and returns integers only; `into` is open.
    if unsafe { libc::fcntl(into.as_raw_fd(), libc::F_SETPIPE_SZ, size) } < 0 {
        return Err(last_errno());
    }
    Ok((out, into))
}

/// `sendfile(out, file, offset, count)`—Copies up to `count` bytes of `file` from `offset` to the
/// position of `out`, and returns how many. Not retried on `EINTR`.
///
/// # References
///  - `sendfile(2)`
#[doc(alias = "sendfile64")]
pub fn sendfile(
    out: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
    // SAFETY: `offset` lives across the call; the kernel updates it and keeps no pointer to it.
    let n = unsafe { libc::sendfile64(out.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    usize::try_from(n).map_err(|_| last_errno())
}

/// `splice(file, offset, into, NULL, count)`—Moves up to `count` bytes of `file` from `offset` into
/// a pipe, and returns how many. Not retried on `EINTR`.
///
/// # References
///  - `splice(2)`
pub fn splice(
    file: BorrowedFd<'_>,
    offset: u64,
    into: BorrowedFd<'_>,
    count: usize,
) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
    let (file, into) = (file.as_raw_fd(), into.as_raw_fd());
    // SAFETY: `offset` lives across the call; the kernel updates it and keeps no pointer to it.
    let n = unsafe { libc::splice(file, &raw mut offset, into, ptr::null_mut(), count, 0) };
    usize::try_from(n).map_err(|_| last_errno())
}

/// `splice(out, NULL, file, offset, count)`—Moves up to `count` bytes from a pipe to `file` at
/// `offset`, and returns how many. Not retried on `EINTR`.
///
/// # References
///  - `splice(2)`
#[doc(alias = "splice")]
pub fn splice_into(
    file: BorrowedFd<'_>,
    offset: u64,
    out: BorrowedFd<'_>,
    count: usize,
) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
    let (out, file) = (out.as_raw_fd(), file.as_raw_fd());
    // SAFETY: as in `splice`.
    let n = unsafe { libc::splice(out, ptr::null_mut(), file, &raw mut offset, count, 0) };
    usize::try_from(n).map_err(|_| last_errno())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read, write, File, OpenOptions};
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn bytes_pass_the_pipe_to_where_they_belong() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write(&from, "0123456789").expect("write");
        write(&to, "abcdefghij").expect("write");
        let file = File::open(&from).expect("open");
        let target = OpenOptions::new().write(true).open(&to).expect("open");
        let (out, into) = pipe(1 << 16).expect("a pipe");
        assert_eq!(splice(file.as_fd(), 2, into.as_fd(), 5), Ok(5));
        assert_eq!(splice_into(target.as_fd(), 4, out.as_fd(), 5), Ok(5));
        assert_eq!(read(&to).expect("read"), b"abcd23456j");
    }

    #[test]
    fn sendfile_copies_from_the_offset_to_the_position() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write(&from, "0123456789").expect("write");
        let mut target = File::create(&to).expect("create");
        target.write_all(b"ab").expect("write");
        let file = File::open(&from).expect("open");
        assert_eq!(sendfile(target.as_fd(), file.as_fd(), 7, 9), Ok(3));
        assert_eq!(read(&to).expect("read"), b"ab789");
    }

    #[test]
    fn pipe_that_nobody_may_have_is_refused() {
        assert_eq!(pipe(usize::MAX).err(), Some(Errno::INVAL));
    }
}

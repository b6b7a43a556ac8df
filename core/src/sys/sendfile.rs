//! Copying between files in the kernel, which the benchmark compares with.

use crate::sys::last_errno;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// `sendfile(out, in, offset, count)`—Copies up to `count` bytes of `file` from `offset` to the
/// position of `out`, and returns how many. Not retried on `EINTR`.
///
/// # References
///  - `sendfile(2)`
pub fn sendfile(
    out: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| io::Errno::INVAL)?;
    // SAFETY: `offset` lives across the call; the kernel updates it and keeps no pointer to it.
    let n = unsafe { libc::sendfile64(out.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    usize::try_from(n).map_err(|_| last_errno())
}

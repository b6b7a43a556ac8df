//! The pages of a file in the page cache.

use crate::sys::{last_errno, uapi};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// `cachestat(fd)`—Counts the pages of a byte range that are in the page cache. `len` 0 means to
/// the end of the file. `ENOSYS` before Linux 6.5.
///
/// # References
///  - `mm/filemap.c`, `SYSCALL_DEFINE4(cachestat)`
pub fn cachestat(fd: BorrowedFd<'_>, off: u64, len: u64) -> io::Result<uapi::cachestat> {
    let range = uapi::cachestat_range { off, len };
    let mut stat = uapi::cachestat::default();
    // SAFETY: both structures live across the call; the kernel reads the first, writes the second,
    // which is exclusively borrowed, and keeps no pointer to either.
    let result = unsafe {
        libc::syscall(uapi::SYS_CACHESTAT as _, fd.as_raw_fd(), &raw const range, &raw mut stat, 0)
    };
    if result == 0 {
        Ok(stat)
    } else {
        Err(last_errno())
    }
}

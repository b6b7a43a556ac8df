//! `statx(2)` on a descriptor, with the direct I/O alignments, which some libc types lack.

use crate::sys::{last_errno, uapi};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// `statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask)`—Returns the kernel's own knowledge of
/// a file. Asks no remote or user-space file system, so it cannot block. `mask` selects the fields,
/// `STATX_*`.
///
/// # References
///  - `statx(2)`
pub fn statx(fd: BorrowedFd<'_>, mask: u32) -> io::Result<uapi::statx> {
    const AT_STATX_DONT_SYNC: i32 = 0x4000;
    let mut stat = uapi::statx::default();
    // SAFETY: the path is an empty C string and `stat` is a live, exclusively borrowed statx; the
    // kernel keeps no pointer to either.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
            mask,
            &raw mut stat,
        )
    };
    if result == 0 {
        Ok(stat)
    } else {
        Err(last_errno())
    }
}

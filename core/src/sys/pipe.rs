//! Pipes.

use crate::sys::last_errno;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io;

/// `pipe2(O_CLOEXEC)`—Returns the read end and the write end of a new pipe.
///
/// # References
///  - `pipe2(2)`
#[doc(alias = "pipe2")]
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the kernel writes two integers, for which `fds` has room, and keeps no pointer to it.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: the call succeeded, so both are open, and nobody else has them yet.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

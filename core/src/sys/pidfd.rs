//! Processes as descriptors.

use crate::sys::last_errno;
use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::io;

/// `pidfd_open(pid, 0)`—Returns a descriptor of a process, close-on-exec, that polls as readable
/// once the process has ended. It needs no permission.
///
/// # Errors
/// `SRCH` if there is no such process, `INVAL` if `pid` is not positive, `NOSYS` before Linux 5.3.
///
/// # References
///  - `pidfd_open(2)`
#[doc(alias = "pidfd_open")]
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and returns one.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call succeeded, so it is open, and nobody else has it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

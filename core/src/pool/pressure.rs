//! Memory pressure, as the kernel measures it: pressure stall information (PSI).
//!
//! Source: `Documentation/accounting/psi.rst`, "Monitoring for pressure thresholds".

use crate::error::{During, Error, ErrorKind, Result};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{open, Mode, OFlags};
use rustix::io::{self, Errno};

const MEMORY: &str = "/proc/pressure/memory";

/// Some thread waits for memory for 100 ms within 2 s: Android's lmkd begins to act at 70 ms within
/// one. A process without privileges may use only multiples of 2 s (Linux 6.5).
const TRIGGER: &[u8] = b"some 100000 2000000\0";

/// A descriptor that [`wait`] can wait on: the pressure of the whole system.
///
/// # Errors
/// `PermissionDenied` if SELinux denies it, outside the group `system` on Android, or before Linux
/// 6.5; others if the kernel has no PSI.
pub fn system() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(MEMORY, flags, Mode::empty()).during(|| format!("open {MEMORY}"))?;
    io::write(&file, TRIGGER).during(|| format!("set a trigger on {MEMORY}"))?;
    Ok(file)
}

/// Waits until memory is short. At most one event in 2 s.
pub fn wait(trigger: BorrowedFd<'_>) -> Result<()> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(trigger, PollFlags::PRI)];
        match poll(&mut fds, -1) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::from_errno("poll for memory pressure", errno)),
            // The kernel reports this when the measured object is gone.
            Ok(_) if fds[0].revents().contains(PollFlags::ERR) => {
                return Err(Error::new(ErrorKind::Io, "memory pressure is measured no more"))
            }
            Ok(_) => return Ok(()),
        }
    }
}

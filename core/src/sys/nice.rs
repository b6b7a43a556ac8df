//! The share of the calling thread in the CPU.

use crate::sys::last_errno;
use rustix::io;

/// `setpriority(PRIO_PROCESS, 0, 19)`—Gives the calling thread the lowest priority. It needs no
/// capability; the way back needs `CAP_SYS_NICE`.
///
/// # References
///  - `setpriority(2)`; that Linux applies it to a thread is under "C library/kernel differences"
#[doc(alias = "setpriority")]
pub fn lowest() -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

//! The I/O priority of the calling thread.

use crate::sys::last_errno;
use rustix::io;

/// `IOPRIO_WHO_PROCESS`; with id 0 it means the calling thread.
const WHO_PROCESS: i32 = 1;
const CLASS_SHIFT: u32 = 13;

/// An I/O priority, as `ioprio_set(2)` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority(u16);

impl IoPriority {
    /// The highest level of the best-effort class.
    pub const BEST_EFFORT_HIGH: Self = Self(2 << CLASS_SHIFT);
    /// The idle class: served when nobody else wants the disk.
    pub const IDLE: Self = Self(3 << CLASS_SHIFT);
}

/// `ioprio_get(IOPRIO_WHO_PROCESS, 0)`—Returns the I/O priority of the calling thread.
///
/// # References
///  - `ioprio_get(2)`
#[doc(alias = "ioprio_get")]
pub fn get() -> io::Result<IoPriority> {
    // SAFETY: takes and returns integers only.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    u16::try_from(value).map(IoPriority).map_err(|_| last_errno())
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, 0, priority)`—Sets the I/O priority of the calling thread.
///
/// # References
///  - `ioprio_set(2)`
#[doc(alias = "ioprio_set")]
pub fn set(priority: IoPriority) -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    let value =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, i32::from(priority.0)) };
    if value == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

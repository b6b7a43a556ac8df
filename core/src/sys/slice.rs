//! The time slice of the calling thread.

use crate::sys::last_errno;
use core::mem::size_of;
use rustix::io;
use std::time::Duration;

/// `struct sched_attr` in its first published size.
#[repr(C)]
#[derive(Debug, Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `SCHED_OTHER`, which `include/uapi/linux/sched.h` calls `SCHED_NORMAL`. Not every libc crate has it.
const SCHED_OTHER: u32 = 0;

const SIZE: u32 = size_of::<SchedAttr>() as u32;

/// `sched_setattr(0, {sched_runtime: slice}, 0)`—Asks for a time slice of that length. The kernel
/// bounds it by 0.1 ms and 100 ms. It keeps the share of the thread in the CPU, and so a thread
/// with a longer slice waits longer for its next one. It needs no capability.
///
/// Kernels before 6.12 take the call and ignore the length.
///
/// # Errors
/// `INVAL` if the thread does not have the policy `SCHED_OTHER`, where the field means something
/// else. A server's thread may have the policy of its client.
///
/// # References
///  - `sched_setattr(2)`
///  - Linux `Documentation/scheduler/sched-eevdf.rst`
#[doc(alias = "sched_setattr")]
pub fn set(slice: Duration) -> io::Result<()> {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most `SIZE` bytes to `attr`, which is that long and of integers.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, SIZE, 0) };
    if result != 0 {
        return Err(last_errno());
    }
    if attr.policy != SCHED_OTHER {
        return Err(io::Errno::INVAL);
    }
    attr.runtime = u64::try_from(slice.as_nanos()).map_err(|_| io::Errno::INVAL)?;
    // SAFETY: the kernel reads `attr.size` bytes of `attr`; the call before set it to at most `SIZE`.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::nice;
    use std::thread;

    #[test]
    fn slice_of_a_thread_keeps_its_nice_value() {
        thread::spawn(|| {
            nice::lowest().expect("nice");
            set(Duration::from_millis(10)).expect("slice");
            // SAFETY: takes and returns integers only.
            assert_eq!(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }, 19);
        })
        .join()
        .expect("no panic");
    }
}

//! Ends blocking system calls of another thread.

use crate::sys::last_errno;
use rustix::io;
use std::mem::MaybeUninit;
use std::ptr;

/// The signal. Its default action is to do nothing, and no other code here uses it.
const SIGNAL: libc::c_int = libc::SIGURG;

/// A thread whose blocking system calls other threads can end, with `EINTR`.
#[derive(Debug, Clone, Copy)]
pub struct Interruptible {
    tid: libc::pid_t,
}

impl Interruptible {
    /// `sigaction(SIGURG)`, `gettid()`—The calling thread. From now on, `SIGURG` only ends calls in
    /// this process.
    #[doc(alias = "sigaction")]
    pub fn this_thread() -> io::Result<Self> {
        extern "C" fn nothing(_: libc::c_int) {}
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zero is a valid value of every field of a sigaction: no flags, so that calls are
        // not restarted, and an empty mask. The handler does nothing, which is safe at any point. The
        // structure lives across the call, and the kernel keeps no pointer to it.
        let result = unsafe {
            let action = action.assume_init_mut();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(SIGNAL, action, ptr::null_mut())
        };
        if result != 0 {
            return Err(last_errno());
        }
        // SAFETY: takes nothing and returns an integer.
        let tid = unsafe { libc::syscall(libc::SYS_gettid) };
        Ok(Self { tid: tid as libc::pid_t })
    }

    /// `tgkill(SIGURG)`—Ends the call in which the thread waits, if it does. It misses a thread
    /// that is about to block: repeat it until the thread has reacted.
    #[doc(alias = "tgkill")]
    pub fn interrupt(&self) -> io::Result<()> {
        // SAFETY: takes and returns integers only.
        let result = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.tid, SIGNAL) };
        if result == 0 {
            Ok(())
        } else {
            Err(last_errno())
        }
    }
}

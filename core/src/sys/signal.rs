//! Waiting for the signal that ends the service.

use rustix::io::{self, Errno};
use std::mem::MaybeUninit;

/// The signals that ask a service to end: `SIGTERM` and `SIGINT`, blocked in this thread and in
/// every thread that it starts, so that [`Termination::wait`] is the only place where they arrive.
#[derive(Debug)]
pub struct Termination {
    set: libc::sigset_t,
}

impl Termination {
    /// `pthread_sigmask(SIG_BLOCK)`—Call it before any other thread exists.
    #[doc(alias = "pthread_sigmask")]
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the whole set, which lives across all calls; the C
        // library keeps no pointer to it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            let set = set.assume_init();
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(Self { set }),
                errno => Err(Errno::from_raw_os_error(errno)),
            }
        }
    }

    /// `sigwait(2)`—Waits for one of the signals and returns its number.
    #[doc(alias = "sigwait")]
    pub fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: both arguments live across the call and the C library keeps no pointer to them.
        match unsafe { libc::sigwait(&raw const self.set, &raw mut signal) } {
            0 => Ok(signal),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }
}

//! Waits for the signal that ends a process, and ends the process by it.

use rustix::io::{self, Errno};
use std::mem::MaybeUninit;
use std::process::abort;
use std::ptr;

/// Signals that ask a process to end, blocked in this thread and in every thread that it starts,
/// so that [`Termination::wait`] is the only place where they arrive.
#[derive(Debug)]
pub struct Termination {
    set: libc::sigset_t,
}

impl Termination {
    /// `pthread_sigmask(SIG_BLOCK)`—For a service: `SIGTERM` and `SIGINT`. Call it before any other
    /// thread exists.
    #[doc(alias = "pthread_sigmask")]
    pub fn block() -> io::Result<Self> {
        Self::block_each([libc::SIGTERM, libc::SIGINT].into_iter())
    }

    /// For a command: also `SIGHUP` and `SIGQUIT`, but no signal that its parent made it ignore, as
    /// nohup(1) does. Call it before any other thread exists.
    pub fn block_for_command() -> io::Result<Self> {
        let signals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
        Self::block_each(signals.into_iter().filter(|&signal| !is_ignored(signal)))
    }

    fn block_each(signals: impl Iterator<Item = i32>) -> io::Result<Self> {
        let set = set_of(signals);
        // SAFETY: `set` lives across the call and the C library keeps no pointer to it.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
            0 => Ok(Self { set }),
            errno => Err(Errno::from_raw_os_error(errno)),
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

/// `raise(3)`—Ends this process by `signal`, so that its parent sees the signal.
#[doc(alias = "raise")]
pub fn die_by(signal: i32) -> ! {
    let set = set_of([signal].into_iter());
    // SAFETY: the default action runs no code of this process; `set` lives across the call and the
    // C library keeps no pointer to it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::raise(signal);
    }
    abort()
}

/// `signal(SIGXFSZ, SIG_IGN)`—If a file would grow beyond `RLIMIT_FSIZE`, the write fails with
/// `EFBIG` and the process lives on.
#[doc(alias = "SIGXFSZ")]
pub fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal runs no code of this process.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether this process ignores `signal`.
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer changes no action; `action` has room for the one that the call writes,
    // and is read only if it did.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn set_of(signals: impl Iterator<Item = i32>) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set, which lives across all calls; the C library
    // keeps no pointer to it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

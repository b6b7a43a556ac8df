//! The system calls that this project makes itself: its only `unsafe` code.
//!
//! Functions take borrowed descriptors and return [`rustix::io::Errno`]. They do not check the
//! descriptors; [`crate::buffer`] and [`crate::file`] do that before. This module imports nothing
//! from the rest of the crate.

#![allow(unsafe_code)]

pub mod clock;
pub mod crc32c;
pub mod interrupt;
pub mod ioctl;
pub mod ioprio;
pub mod mmap;
pub mod nice;
pub mod pagecache;
pub mod pidfd;
pub mod pipe;
pub mod signal;
pub mod splice;
pub mod statx;
pub mod sysconf;
pub mod uapi;
// The libc crate has no seccomp for Android.
#[cfg(all(test, not(target_os = "android")))]
pub mod without;

use rustix::io::Errno;
use std::io::Error;

/// The errno of the C library call that just failed.
fn last_errno() -> Errno {
    Errno::from_io_error(&Error::last_os_error()).unwrap_or(Errno::IO)
}

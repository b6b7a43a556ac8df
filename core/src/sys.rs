//! The system calls that this project makes itself: the only code here that is `unsafe`.
//!
//! Functions take borrowed descriptors and return [`rustix::io::Errno`]. They check nothing about
//! the descriptors that they are given; [`crate::buffer`] and [`crate::file`] do that first.
//! Imports nothing of ours.

#![allow(unsafe_code)]

pub mod interrupt;
pub mod ioctl;
pub mod ioprio;
pub mod mmap;
pub mod nice;
pub mod pagecache;
pub mod pipe;
pub mod signal;
pub mod splice;
pub mod statx;
pub mod sysconf;
pub mod uapi;

use rustix::io::Errno;
use std::io::Error;

/// The errno of the C library call that just failed.
fn last_errno() -> Errno {
    Errno::from_io_error(&Error::last_os_error()).unwrap_or(Errno::IO)
}

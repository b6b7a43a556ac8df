//! One file for each request: it checks what arrived, has `admission` let it in, and does it.

pub(crate) mod allocate;
pub(crate) mod capabilities;
mod convert;
pub(crate) mod dump;
pub(crate) mod load;
pub(crate) mod probe;
pub(crate) mod submit;
pub(crate) mod transfer;
mod turns;

use crate::admission::Class;
use dmabufio_core::error::Result;
use dmabufio_core::file::may_stall;
use rustix::fd::BorrowedFd;

/// What the file of a request may do to the thread that serves it, found out without asking a
/// daemon.
fn class(file: BorrowedFd<'_>) -> Result<Class> {
    Ok(if may_stall(file)? { Class::Stalling } else { Class::Ordinary })
}

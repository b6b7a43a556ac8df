//! One file for each request. It checks the request, asks `admission` to let it in, and does its
//! work.

pub(crate) mod allocate;
pub(crate) mod capabilities;
mod convert;
pub(crate) mod dump;
pub(crate) mod load;
pub(crate) mod probe;
pub(crate) mod stream;
pub(crate) mod submit;
pub(crate) mod transfer;
mod turns;

use crate::admission::Class;
use dmabufio_core::error::Result;
use dmabufio_core::extent::Extent;
use dmabufio_core::file::may_stall;
use rustix::fd::BorrowedFd;

/// The class of a request by its file. Asks no daemon.
fn class(file: BorrowedFd<'_>) -> Result<Class> {
    Ok(if may_stall(file)? { Class::Stalling } else { Class::Ordinary })
}

/// Bytes of all extents.
fn total<'a>(extents: impl IntoIterator<Item = &'a Extent>) -> u64 {
    extents.into_iter().map(|extent| extent.len).fold(0, u64::saturating_add)
}

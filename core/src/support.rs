//! Asks the kernel for the abilities of a buffer.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::extent::Direction;
use crate::method::{FallbackReason, Support};
use crate::sys::mmap::{Access, Mapping};
use crate::sys::{ioctl, sysconf, uapi};
use rustix::io::Errno;
use std::slice;

/// The abilities of `buffer` as long as no device is attached to it.
pub(crate) fn of(buffer: &Buffer<'_>, direction: Direction) -> Result<Support> {
    let rw_file = rw_file(buffer, direction)?;
    let rw_extents = rw_file.is_ok() && rw_extents(buffer, direction);
    let page_backed = rw_file.is_err() && is_page_backed(buffer);
    Ok(Support { rw_file, rw_extents, page_backed })
}

/// Whether `DMA_BUF_IOCTL_RW_FILE` works on `buffer`, or the reason why it does not. Only the file
/// of the request is invalid, -1, and the kernel checks it last. Therefore `EBADF` means that the
/// ioctl works.
fn rw_file(
    buffer: &Buffer<'_>,
    direction: Direction,
) -> Result<std::result::Result<(), FallbackReason>> {
    if !buffer.is_dma_buf() {
        return Ok(Err(FallbackReason::Exporter));
    }
    let request = uapi::dma_buf_rw_file {
        flags: direction.rw_flag() | uapi::DMA_BUF_RW_FLAGS_DIRECT,
        buf_len: sysconf::page_size(),
        ..Default::default()
    };
    match ioctl::dma_buf_rw_file(buffer.fd(), None, request) {
        Err(Errno::BADF) => Ok(Ok(())),
        Err(Errno::NOTTY) => Ok(Err(FallbackReason::NoIoctl)),
        // Success is impossible; a success would mean another ioctl with the same number.
        Err(Errno::INVAL) | Ok(()) => Ok(Err(FallbackReason::Exporter)),
        Err(errno) => Err(Error::from_errno("buffer: probe of DMA_BUF_IOCTL_RW_FILE", errno)),
    }
}

/// Whether `DMA_BUF_IOCTL_RW_EXTENTS` works on `buffer`, asked in the same way.
fn rw_extents(buffer: &Buffer<'_>, direction: Direction) -> bool {
    let flags = direction.rw_flag() | uapi::DMA_BUF_RW_FLAGS_ATTACHED;
    let mut extent = uapi::dma_buf_rw_extent { len: sysconf::page_size(), ..Default::default() };
    let answer = ioctl::dma_buf_rw_extents(buffer.fd(), None, flags, slice::from_mut(&mut extent));
    answer == Err(Errno::BADF)
}

/// `false` for a buffer that has no mmap; the mapped methods report this if no other method is
/// left.
fn is_page_backed(buffer: &Buffer<'_>) -> bool {
    let page_size = sysconf::page_size() as usize;
    match buffer.memory() {
        Some(memory) => memory.is_page_backed(page_size),
        None => Mapping::new(buffer.fd(), 0, page_size, Access::Read)
            .is_ok_and(|mapping| mapping.is_page_backed(page_size)),
    }
}

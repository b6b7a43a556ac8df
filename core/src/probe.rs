//! Finds out what works, by asking the kernel and never by its version. Does no I/O on any file.

use crate::dmabuf::DmaBuf;
use crate::error::{Error, Result};
use crate::extent::{check_shape, Direction, Extent};
use crate::file::RegularFile;
use crate::heap::{Allocation, Allocator};
use crate::method::{FallbackReason, Mode, Route, Support};
use crate::sys::mmap::{Access, Mapping};
use crate::sys::{ioctl, sysconf, uapi};
use crate::transfer::plan::{ExtentPlan, Plan};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;

/// What the buffers of `heap` can do in a transfer, for those whom they are handed to.
pub fn heap(heap: &Allocator) -> Result<Support> {
    let Allocation { fd, heap, .. } = heap.allocate(heap.page_size())?;
    exporter(&DmaBuf::new(fd.as_fd(), heap)?, Direction::Load)
}

/// What the buffers of `heap` can do in a load, for who allocates them.
pub fn heap_in_load(heap: &Allocator) -> Result<Support> {
    exporter(&heap.allocate(heap.page_size())?.buffer(), Direction::Load)
}

/// What `buffer` can do now. As [`exporter`], but for a device that is attached, which a transfer
/// notices by itself.
pub fn buffer(buffer: &DmaBuf<'_>, direction: Direction) -> Result<Support> {
    let support = exporter(buffer, direction)?;
    Ok(match support.no_rw_file {
        None if is_busy(buffer) => {
            Support { no_rw_file: Some(FallbackReason::BufferBusy), ..support }
        }
        _ => support,
    })
}

/// What `buffer` can do as long as no device is attached to it.
pub fn exporter(buffer: &DmaBuf<'_>, direction: Direction) -> Result<Support> {
    let no_rw_file = rw_file(buffer, direction)?;
    let page_backed = no_rw_file.is_some() && is_page_backed(buffer);
    Ok(Support { no_rw_file, page_backed })
}

/// Predicts what a transfer between `file` and a buffer with `support` will do with each extent, as
/// long as neither changes.
pub fn plan(
    file: &RegularFile<'_>,
    extents: &[Extent],
    direction: Direction,
    mode: Mode,
    support: Support,
) -> Result<Vec<ExtentPlan>> {
    check_shape(extents)?;
    file.check_access(direction)?;
    let route = Route::choose(support, file, mode)?;
    Ok(Plan::new(extents, file, direction, mode, route)?.predict())
}

/// Why `DMA_BUF_IOCTL_RW_FILE` does not work on `buffer`, if it does not. The request is valid but
/// for its file, -1, which the kernel looks at last: `EBADF` means that everything else is there.
fn rw_file(buffer: &DmaBuf<'_>, direction: Direction) -> Result<Option<FallbackReason>> {
    if !buffer.is_dma_buf() {
        return Ok(Some(FallbackReason::Exporter));
    }
    let operation = match direction {
        Direction::Load => uapi::DMA_BUF_RW_FLAGS_READ,
        Direction::Save => uapi::DMA_BUF_RW_FLAGS_WRITE,
    };
    let request = uapi::dma_buf_rw_file {
        flags: operation | uapi::DMA_BUF_RW_FLAGS_DIRECT,
        fd: -1,
        file_offset: 0,
        buf_offset: 0,
        buf_len: sysconf::page_size(),
    };
    match ioctl::dma_buf_rw_file(buffer.fd(), request) {
        Err(Errno::BADF) => Ok(None),
        Err(Errno::NOTTY) => Ok(Some(FallbackReason::NoIoctl)),
        // Success is impossible; whatever said it does not have the ioctl's semantics.
        Err(Errno::INVAL) | Ok(()) => Ok(Some(FallbackReason::Exporter)),
        Err(errno) => Err(Error::from_errno("buffer: probe of DMA_BUF_IOCTL_RW_FILE", errno)),
    }
}

/// Whether a device is attached to a buffer that has `DMA_BUF_IOCTL_RW_FILE`, or the kernel has it
/// mapped. The request is valid but for its file, which is empty; so the kernel goes on to look at
/// the buffer, and then has nothing to move.
///
/// `false` if that cannot be found out: the descriptor is read-only, or the kernel would wait for a
/// fence of the buffer first.
fn is_busy(buffer: &DmaBuf<'_>) -> bool {
    let mut idle = [PollFd::from_borrowed_fd(buffer.fd(), PollFlags::OUT)];
    let Ok(empty) = memfd_create("dmabufio-empty", MemfdFlags::CLOEXEC) else {
        return false;
    };
    let request = uapi::dma_buf_rw_file {
        flags: uapi::DMA_BUF_RW_FLAGS_READ,
        fd: empty.as_raw_fd(),
        file_offset: 0,
        buf_offset: 0,
        buf_len: sysconf::page_size(),
    };
    poll(&mut idle, 0) == Ok(1) && ioctl::dma_buf_rw_file(buffer.fd(), request) == Err(Errno::BUSY)
}

/// A buffer that cannot be mapped is not; the mapped methods say so when they are all that is left.
fn is_page_backed(buffer: &DmaBuf<'_>) -> bool {
    let page_size = sysconf::page_size() as usize;
    match buffer.memory() {
        Some(memory) => memory.is_page_backed(page_size),
        None => Mapping::new(buffer.fd(), 0, page_size, Access::Read)
            .is_ok_and(|mapping| mapping.is_page_backed(page_size)),
    }
}

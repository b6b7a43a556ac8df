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
use rustix::fd::AsFd;
use rustix::io::Errno;

/// What the buffers of `heap` can do for those whom they are handed to.
pub fn heap(heap: &Allocator) -> Result<Support> {
    let Allocation { fd, heap, .. } = heap.allocate(heap.page_size())?;
    buffer(&DmaBuf::new(fd.as_fd(), heap)?, Direction::Load)
}

/// What `buffer` can do.
pub fn buffer(buffer: &DmaBuf<'_>, direction: Direction) -> Result<Support> {
    let no_rw_file = rw_file(buffer, direction)?;
    let page_backed = no_rw_file.is_some() && is_page_backed(buffer);
    Ok(Support { no_rw_file, page_backed })
}

/// Predicts what a transfer between `file` and a buffer with `support` will do with each extent.
pub fn plan(
    file: &RegularFile<'_>,
    extents: &[Extent],
    direction: Direction,
    mode: Mode,
    support: Support,
) -> Result<Vec<ExtentPlan>> {
    check_shape(extents)?;
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

/// A buffer that cannot be mapped is not; the mapped methods say so when they are all that is left.
fn is_page_backed(buffer: &DmaBuf<'_>) -> bool {
    let page_size = sysconf::page_size() as usize;
    Mapping::new(buffer.memory(), 0, page_size, Access::Read)
        .is_ok_and(|mapping| mapping.is_page_backed(page_size))
}

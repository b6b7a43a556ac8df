//! The objects behind the handles.

use dmabufio_client::model;
use dmabufio_client::{snapshot, Client as InnerClient, Submitted};
use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{Error as CoreError, ErrorKind, Result as CoreResult};
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::mmap::{Access, Mapping as Memory};
use dmabufio_core::sys::sysconf::page_size;
use dmabufio_core::sys::{ioctl, uapi};
use rustix::io::{fcntl_dupfd_cloexec, Errno};
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A connection to the service, or the work in this process without it.
pub struct Client(pub InnerClient);

/// Requests that the service works on.
pub struct Batch {
    pub submitted: Submitted,
    /// The number of buffers and transfers.
    pub requests: usize,
}

/// The tensors of one or several files.
pub struct Model(pub model::Model);

/// Tensors in buffers.
pub struct Tensors(pub model::Tensors);

/// A folder of task snapshots.
pub struct SnapshotStore(pub snapshot::SnapshotStore);

/// Memory of a buffer, between the begin and the end of access by the CPU.
pub struct Mapping {
    /// A second descriptor, so that the access ends on the same buffer whatever the caller closes.
    /// `None` for a memfd, which needs no begin and no end.
    dma_buf: Option<OwnedFd>,
    flags: u64,
    memory: Memory,
    /// Where the caller's bytes begin in `memory`.
    skip: usize,
}

impl Mapping {
    /// Maps `len` bytes of a buffer from `offset`, and begins the access.
    pub fn new(fd: BorrowedFd<'_>, offset: u64, len: u64, access: Access) -> CoreResult<Self> {
        let buffer = Buffer::new(fd, Heap::Memfd)?;
        let size = buffer.size();
        let what = || format!("map {len} bytes from {offset} of a buffer of {size} bytes");
        let refused = |why: &str| {
            Err(CoreError::new(ErrorKind::InvalidRequest, format!("{}: {why}", what())))
        };
        if len == 0 {
            return refused("no bytes");
        }
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return refused("beyond the end of the buffer");
        }
        let failed = |errno: Errno| CoreError::from_errno(what(), errno);
        let start = offset / page_size() * page_size();
        let skip = (offset - start) as usize;
        let Some(whole) = usize::try_from(len).ok().and_then(|len| len.checked_add(skip)) else {
            return refused("more than this process can address");
        };
        let memory = Memory::new(fd, start, whole, access).map_err(failed)?;
        let flags = match access {
            Access::Read => uapi::DMA_BUF_SYNC_READ,
            Access::ReadWrite => uapi::DMA_BUF_SYNC_READ | uapi::DMA_BUF_SYNC_WRITE,
        };
        let dma_buf = buffer.is_dma_buf().then(|| fcntl_dupfd_cloexec(fd, 0)).transpose();
        let dma_buf = dma_buf.map_err(failed)?;
        if let Some(fd) = &dma_buf {
            ioctl::dma_buf_sync(fd.as_fd(), uapi::DMA_BUF_SYNC_START | flags).map_err(failed)?;
        }
        Ok(Self { dma_buf, flags, memory, skip })
    }

    /// The address of the first byte.
    pub fn address(&self) -> *mut c_void {
        self.memory.address().wrapping_byte_add(self.skip)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(fd) = &self.dma_buf {
            // It fails only for arguments that the begin would have refused.
            let _ = ioctl::dma_buf_sync(fd.as_fd(), uapi::DMA_BUF_SYNC_END | self.flags);
        }
    }
}

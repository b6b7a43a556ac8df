//! Buffers that this process owns.

use dmabufio_core::buffer::Buffer as CoreBuffer;
use dmabufio_core::error::{Error, Result};
use dmabufio_core::extent::Direction;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::sysconf::page_size;
use dmabufio_core::transfer::receipt::Receipt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A buffer of [`crate::Client::allocate`] or [`crate::Client::load`]. The kernel frees it when its
/// last descriptor is closed.
#[derive(Debug)]
pub struct Buffer {
    fd: OwnedFd,
    size: u64,
    heap: Heap,
}

impl Buffer {
    pub(crate) fn new(fd: OwnedFd, size: u64, heap: Heap) -> Self {
        Self { fd, size, heap }
    }

    /// Size in bytes, a multiple of the page size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The heap that the buffer came from.
    pub fn heap(&self) -> Heap {
        self.heap
    }

    /// Reads `out.len()` bytes from byte `offset` with the CPU, through a mapping of the buffer.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.access(offset, out.len(), Direction::Save, |mapping, at| mapping.read(at, out))
    }

    /// Writes `data` to byte `offset` with the CPU, through a mapping of the buffer.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.access(offset, data.len(), Direction::Load, |mapping, at| mapping.write(at, data))
    }

    /// Maps `len` bytes from `offset`, and calls `action` with the mapping and their offset in it.
    fn access(
        &self,
        offset: u64,
        len: usize,
        direction: Direction,
        action: impl FnOnce(&mut Mapping, usize) -> rustix::io::Result<()>,
    ) -> Result<()> {
        if len == 0 {
            // A mapping cannot be empty.
            return Ok(());
        }
        let what = || format!("buffer of {} bytes: offset={offset} length={len}", self.size);
        let failed = |errno| Error::from_errno(what(), errno);
        let start = offset / page_size() * page_size();
        let skip = (offset - start) as usize;
        let access = match direction {
            Direction::Load => Access::ReadWrite,
            Direction::Save => Access::Read,
        };
        let mut mapping =
            Mapping::new(self.fd.as_fd(), start, skip + len, access).map_err(failed)?;
        let buffer = CoreBuffer::new(self.fd.as_fd(), self.heap)?;
        let cpu_access = buffer.begin_cpu_access(direction)?;
        action(&mut mapping, skip).map_err(failed)?;
        cpu_access.end()
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Buffer> for OwnedFd {
    fn from(buffer: Buffer) -> Self {
        buffer.fd
    }
}

/// A buffer that [`crate::Client::load`] allocated and filled.
#[derive(Debug)]
pub struct Filled {
    /// The buffer.
    pub buffer: Buffer,
    /// The receipt for filling it.
    pub receipt: Receipt,
}

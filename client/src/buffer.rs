//! Buffers that this process owns.

use crate::mapped::access;
use dmabufio_core::error::Result;
use dmabufio_core::extent::Direction;
use dmabufio_core::heap::Heap;
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
    ///
    /// # Errors
    /// `InvalidRequest` if the buffer ends before them, and what the kernel reports.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        access(self.as_fd(), self.heap, offset, out.len() as u64, Direction::Save, |mapping, at| {
            mapping.read(at, out)
        })
    }

    /// Writes `data` to byte `offset` with the CPU, through a mapping of the buffer.
    ///
    /// # Errors
    /// Those of [`Buffer::read`].
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        access(
            self.as_fd(),
            self.heap,
            offset,
            data.len() as u64,
            Direction::Load,
            |mapping, at| mapping.write(at, data),
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use dmabufio_core::error::ErrorKind;

    #[test]
    fn access_beyond_the_end_is_an_error_and_no_fault() {
        let buffer = Client::local(Heap::Memfd).and_then(|client| client.allocate(1, "test"));
        let buffer = buffer.expect("a buffer");
        let size = buffer.size();
        for (offset, len) in [(size, 1), (size - 1, 2), (0, size + 1), (u64::MAX, 1)] {
            let mut bytes = vec![0; len as usize];
            for error in [buffer.read(offset, &mut bytes), buffer.write(offset, &bytes)] {
                let error = error.expect_err("an error");
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
                let what = format!("offset={offset} length={len}: beyond the end of the buffer");
                assert_eq!(error.to_string(), format!("buffer of {size} bytes: {what}"));
            }
        }
        buffer.read(size - 1, &mut [0]).expect("the last byte");
    }
}

//! The buffers of a transfer: checked descriptors of dma-bufs.
//!
//! A client may pass any descriptor. Therefore this module identifies it without an ioctl, and
//! without a call that waits for a user-space file system.

use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::Direction;
use crate::heap::kind::Heap;
use crate::sys::mmap::Mapping;
use crate::sys::{ioctl, statx, uapi};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{fcntl_get_seals, fcntl_getfl, OFlags, SealFlags};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// The seals of the embedded heap's memfds. They fix the size, so that a mapping cannot fault.
/// Nobody can add a seal that forbids writing.
pub(crate) const MEMFD_SEALS: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// A dma-buf, or a memfd of the embedded heap, that somebody else owns.
#[derive(Debug, Clone, Copy)]
pub struct Buffer<'fd> {
    fd: BorrowedFd<'fd>,
    memory: Option<&'fd Mapping>,
    size: u64,
    kind: Kind,
    mode: OFlags,
}

/// The kind of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    DmaBuf,
    Memfd,
}

impl<'fd> Buffer<'fd> {
    /// Checks that `fd` is a buffer. A memfd is a buffer if `heap` is [`Heap::Memfd`] and the memfd
    /// has the seals of that heap.
    pub fn new(fd: BorrowedFd<'fd>, heap: Heap) -> Result<Self> {
        let flags = fcntl_getfl(fd).during(|| "buffer: fcntl(F_GETFL)")?;
        if flags.contains(OFlags::PATH) {
            return Err(bad(
                "buffer: an O_PATH descriptor; pass one opened for reading and writing",
            ));
        }
        let kind = match kind(fd, heap)? {
            Some(kind) => kind,
            None if heap == Heap::Memfd => {
                return Err(bad("buffer: not a dma-buf, and not a memfd of the embedded heap"))
            }
            None => return Err(bad("buffer: not a dma-buf")),
        };
        let size = statx::statx(fd, uapi::STATX_SIZE).during(|| "buffer: statx")?.stx_size;
        Ok(Self { fd, memory: None, size, kind, mode: flags & OFlags::RWMODE })
    }

    /// A buffer of `heap` that this process has just allocated. It needs no check.
    pub(crate) fn allocated(fd: BorrowedFd<'fd>, size: u64, heap: Heap) -> Self {
        let kind = if heap == Heap::Memfd { Kind::Memfd } else { Kind::DmaBuf };
        Self { fd, memory: None, size, kind, mode: OFlags::RDWR }
    }

    /// The same buffer, with an existing mapping of all its pages.
    pub(crate) fn with_memory(self, memory: &'fd Mapping) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Checks that the descriptor has the access that `direction` needs. Both directions need read
    /// access, because a mapping for writing needs it (`mmap(2)`, `EACCES`).
    pub fn check_access(&self, direction: Direction) -> Result<()> {
        match direction {
            Direction::Load if self.mode == OFlags::RDWR => Ok(()),
            Direction::Load if self.mode == OFlags::WRONLY => {
                Err(bad("buffer: write-only; a load needs O_RDWR"))
            }
            Direction::Load => Err(bad("buffer: read-only; a load needs O_RDWR")),
            Direction::Save if self.mode == OFlags::WRONLY => {
                Err(bad("buffer: write-only; a save needs O_RDONLY or O_RDWR"))
            }
            Direction::Save => Ok(()),
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }

    /// A mapping of all of its pages, if there is one.
    pub(crate) fn memory(&self) -> Option<&'fd Mapping> {
        self.memory
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether this is a dma-buf, which takes ioctls, rather than a memfd.
    pub fn is_dma_buf(&self) -> bool {
        self.kind == Kind::DmaBuf
    }

    /// Begins CPU access through a mapping. End it with [`CpuAccess::end`].
    pub fn begin_cpu_access(&self, direction: Direction) -> Result<CpuAccess<'fd>> {
        let flags = match direction {
            // A load may leave bytes of a page as they are, so it reads as well.
            Direction::Load => uapi::DMA_BUF_SYNC_READ | uapi::DMA_BUF_SYNC_WRITE,
            Direction::Save => uapi::DMA_BUF_SYNC_READ,
        };
        let dma_buf = self.is_dma_buf().then_some(self.fd);
        if let Some(fd) = dma_buf {
            ioctl::dma_buf_sync(fd, uapi::DMA_BUF_SYNC_START | flags)
                .during(|| "buffer: DMA_BUF_IOCTL_SYNC start")?;
        }
        Ok(CpuAccess { dma_buf, flags })
    }

    /// Names the buffer for the kernel's statistics. Cut to 31 bytes.
    pub fn set_name(&self, name: &str) -> Result<()> {
        if !self.is_dma_buf() {
            return Ok(());
        }
        let mut bytes = [0; uapi::DMA_BUF_NAME_LEN];
        let len = name.len().min(bytes.len() - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        ioctl::dma_buf_set_name(self.fd, &bytes).during(|| "buffer: DMA_BUF_SET_NAME")
    }
}

/// CPU access that has begun. A drop ends the access too, and logs an error.
#[derive(Debug)]
#[must_use = "dropping it ends the access"]
pub struct CpuAccess<'fd> {
    dma_buf: Option<BorrowedFd<'fd>>,
    flags: u64,
}

impl CpuAccess<'_> {
    /// Ends CPU access. Only then do devices see the writes of the CPU.
    pub fn end(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        match self.dma_buf.take() {
            Some(fd) => ioctl::dma_buf_sync(fd, uapi::DMA_BUF_SYNC_END | self.flags)
                .during(|| "buffer: DMA_BUF_IOCTL_SYNC end"),
            None => Ok(()),
        }
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::error!("{error}");
        }
    }
}

/// Whether `fd` is a buffer for a service that uses `heap`.
pub(crate) fn is_buffer(fd: BorrowedFd<'_>, heap: Heap) -> Result<bool> {
    Ok(kind(fd, heap)?.is_some())
}

fn kind(fd: BorrowedFd<'_>, heap: Heap) -> Result<Option<Kind>> {
    if is_dma_buf(fd)? {
        return Ok(Some(Kind::DmaBuf));
    }
    // Only memfds and files of tmpfs and hugetlbfs have seals. For others this is EINVAL; the call
    // asks no file system.
    if heap == Heap::Memfd && fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(MEMFD_SEALS)) {
        return Ok(Some(Kind::Memfd));
    }
    Ok(None)
}

/// Whether `fd` is a dma-buf: only those have an exporter's name in their fdinfo
/// (`Documentation/filesystems/proc.rst`, 3.8 and `dma_buf_show_fdinfo`). `fstatfs(2)` identifies
/// dma-bufs too, but on FUSE it waits for the daemon.
///
/// See docs/design/0001-first-slice.md#the-service-identifies-a-buffer-by-its-fdinfo
fn is_dma_buf(fd: BorrowedFd<'_>) -> Result<bool> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    File::open(&path)
        .and_then(names_exporter)
        .map_err(|error| Error::new(ErrorKind::Io, format!("buffer: read {path}: {error}")))
}

/// Whether a descriptor's fdinfo has the line of a dma-buf. One read usually returns all of it. The
/// owner of the descriptor can add lines before that one: one for each lock.
fn names_exporter(fdinfo: impl Read) -> io::Result<bool> {
    for line in BufReader::with_capacity(1024, fdinfo).split(b'\n') {
        if line?.starts_with(b"exp_name:") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::BadDescriptor, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exporter_is_found_behind_any_number_of_locks() {
        for locks in [0, 1, 100, 10_000] {
            let lock = "lock:\t1: OFDLCK ADVISORY  WRITE -1 00:0f:42 4096 8191\n";
            let text = format!("pos:\t0\n{}size:\t4096\nexp_name:\tsystem\n", lock.repeat(locks));
            assert!(names_exporter(text.as_bytes()).expect("read"), "{locks}");
            let text = text.replace("exp_name", "name");
            assert!(!names_exporter(text.as_bytes()).expect("read"), "{locks}");
        }
    }
}

//! The ways to fill buffers from a file: the published ones, and further ones that are fair to
//! them.

use super::runner::{Case, Source, Times};
use anyhow::{bail, ensure, Context, Result};
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::splice::{pipe, sendfile, splice, splice_into};
use dmabufio_core::sys::sysconf::page_size;
use dmabufio_core::sys::{ioctl, uapi};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::io::{pread, Errno};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Bytes in the pipe of the splice row: the limit of an ordinary user.
const PIPE: usize = 1 << 20;

/// A way to fill one buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    UdmabufBufferRead,
    UdmabufDirectRead,
    UdmabufBufferSendfile,
    UdmabufDirectSendfile,
    DmabufBufferRead,
    RwFileDirectRead,
    RwFileUncleared,
    UdmabufPopulatedDirectRead,
    UdmabufHugeDirectRead,
    UdmabufSplice,
    RwFileBufferedRead,
    AnonymousDirectRead,
    SystemDirectRead,
}

/// The published table: names, and milliseconds for 1 GiB to allocate, to read and in all.
const PUBLISHED: [(Way, &str, [u32; 3]); 6] = [
    (Way::UdmabufBufferRead, "udmabuf buffer read", [539, 2017, 2555]),
    (Way::UdmabufDirectRead, "udmabuf direct read", [522, 658, 1179]),
    (Way::UdmabufBufferSendfile, "udmabuf buffer sendfile", [505, 1040, 1546]),
    (Way::UdmabufDirectSendfile, "udmabuf direct sendfile", [510, 2269, 2780]),
    (Way::DmabufBufferRead, "dmabuf buffer read", [51, 1068, 1118]),
    (Way::RwFileDirectRead, "RW_FILE direct read", [52, 297, 349]),
];

/// The last one is published, too: here it runs beside the limit.
const FAIR: [(Way, &str); 8] = [
    (Way::SystemDirectRead, "system-direct, direct read"),
    (Way::UdmabufPopulatedDirectRead, "udmabuf, pre-faulted, direct read"),
    (Way::UdmabufHugeDirectRead, "udmabuf, huge pages, direct read"),
    (Way::UdmabufSplice, "udmabuf splice"),
    (Way::RwFileBufferedRead, "RW_FILE buffered read"),
    (Way::AnonymousDirectRead, "anonymous memory, direct read"),
    (Way::RwFileUncleared, "RW_FILE direct read, memory not cleared"),
    (Way::RwFileDirectRead, "RW_FILE direct read"),
];

impl Way {
    fn is_direct(self) -> bool {
        matches!(
            self,
            Self::UdmabufDirectRead
                | Self::UdmabufDirectSendfile
                | Self::UdmabufPopulatedDirectRead
                | Self::UdmabufHugeDirectRead
                | Self::AnonymousDirectRead
                | Self::SystemDirectRead
        )
    }
}

/// The six rows of the published table.
pub fn published(source: &Source, chunk: u64) -> Vec<Case<'_>> {
    let row = |(way, name, published_ms): (Way, &str, _)| Case {
        published_ms: Some(published_ms),
        ..case(source, name, way, chunk)
    };
    PUBLISHED.into_iter().map(row).collect()
}

/// The rows that are not in the published table.
pub fn fair(source: &Source, chunk: u64) -> Vec<Case<'_>> {
    FAIR.into_iter().map(|(way, name)| case(source, name, way, chunk)).collect()
}

/// Two rows of the published table that show a trend, with their names.
pub fn buffered_and_direct<'a>(source: &'a Source, name: &str, chunk: u64) -> [Case<'a>; 2] {
    [("dmabuf buffer read", Way::DmabufBufferRead), ("RW_FILE direct read", Way::RwFileDirectRead)]
        .map(|(row, way)| case(source, &format!("{name}: {row}"), way, chunk))
}

fn case<'a>(source: &'a Source, name: &str, way: Way, chunk: u64) -> Case<'a> {
    Case::new(name, source.len, move |verify| fill_all(source, way, chunk, verify))
}

/// Allocates a buffer for each part of the file and fills it. All buffers live to the end of the
/// run, as in the published test.
fn fill_all(source: &Source, way: Way, chunk: u64, verify: bool) -> Result<Times> {
    let file = if way.is_direct() { source.direct.as_fd() } else { source.buffered.as_fd() };
    let mut times = Times::default();
    let mut filled = Vec::new();
    let mut offset = 0;
    while offset < source.len {
        let len = chunk.min(source.len - offset);
        let start = Instant::now();
        let mut target = Target::new(way, len as usize)?;
        times.alloc += start.elapsed();
        let start = Instant::now();
        target.fill(way, file, offset)?;
        times.io += start.elapsed();
        filled.push((offset, target));
        offset += len;
    }
    if verify {
        for (offset, target) in &filled {
            source.verify(*offset, target.len as u64, |at, out| target.read(at as usize, out))?;
        }
    }
    Ok(times)
}

/// A buffer to fill.
struct Target {
    len: usize,
    dma_buf: Option<OwnedFd>,
    /// The memory of a udmabuf.
    memfd: Option<OwnedFd>,
    memory: Memory,
}

/// The access to the content of a buffer, for reading and in some ways for writing.
enum Memory {
    Mapped(Mapping),
    /// Of this process; the data starts at the offset, a page boundary.
    Anonymous(Vec<u8>, usize),
    /// Not before it is filled.
    Unmapped,
}

impl Target {
    fn new(way: Way, len: usize) -> Result<Self> {
        let page_size = page_size() as usize;
        let (dma_buf, memfd, memory) = match way {
            Way::DmabufBufferRead
            | Way::RwFileDirectRead
            | Way::RwFileBufferedRead
            | Way::SystemDirectRead => {
                let heap = match way {
                    Way::SystemDirectRead => Heap::SystemDirect,
                    _ => Heap::System,
                };
                let buffer = Allocator::open(heap)?.allocate(len as u64)?.fd;
                let memory = map(buffer.as_fd(), len)?;
                (Some(buffer), None, memory)
            }
            Way::RwFileUncleared => {
                let heap = Allocator::open(Heap::System)?;
                ensure!(heap.clears_late(), "the heap has no DMA_HEAP_FLAG_FILL");
                (Some(heap.allocate_to_fill(len as u64)?.fd), None, Memory::Unmapped)
            }
            Way::AnonymousDirectRead => {
                let mut bytes = vec![0; len + page_size];
                // All pages exist before the read.
                bytes.iter_mut().step_by(page_size).for_each(|byte| *byte = 1);
                let start = bytes.as_ptr().align_offset(page_size);
                (None, None, Memory::Anonymous(bytes, start))
            }
            _ => {
                let memfd = memfd(way, len as u64)?;
                // The mapping is the memfd's: the udmabuf's own cannot be pinned for direct I/O.
                let memory = match way {
                    Way::UdmabufPopulatedDirectRead | Way::UdmabufHugeDirectRead => {
                        let mapping = Mapping::new(memfd.as_fd(), 0, len, Access::ReadWrite);
                        let mapping = mapping
                            .context("mmap; huge pages are those of /proc/sys/vm/nr_hugepages")?;
                        mapping.populate(len).context("MADV_POPULATE_WRITE")?;
                        Memory::Mapped(mapping)
                    }
                    _ => map(memfd.as_fd(), len)?,
                };
                let device = File::open("/dev/udmabuf").context("open /dev/udmabuf")?;
                let dma_buf = ioctl::udmabuf_create(device.as_fd(), memfd.as_fd(), len as u64)
                    .context("UDMABUF_CREATE; a smaller --chunk may fit its size_limit_mb")?;
                (Some(dma_buf), Some(memfd), memory)
            }
        };
        Ok(Self { len, dma_buf, memfd, memory })
    }

    fn fill(&mut self, way: Way, file: BorrowedFd<'_>, offset: u64) -> Result<()> {
        match (way, &self.dma_buf, &self.memfd) {
            (Way::RwFileDirectRead | Way::RwFileBufferedRead, Some(dma_buf), _) => {
                let flags = match way {
                    Way::RwFileDirectRead => uapi::DMA_BUF_RW_FLAGS_DIRECT,
                    _ => 0,
                };
                rw_file(dma_buf.as_fd(), file, offset, self.len as u64, flags)
            }
            (Way::RwFileUncleared, Some(dma_buf), _) => {
                let direct = uapi::DMA_BUF_RW_FLAGS_DIRECT;
                rw_file(dma_buf.as_fd(), file, offset, self.len as u64, direct)?;
                // The others have been mapped before. This one would be cleared then.
                self.memory = map(dma_buf.as_fd(), self.len)?;
                Ok(())
            }
            (Way::UdmabufBufferSendfile | Way::UdmabufDirectSendfile, _, Some(memfd)) => {
                repeat(self.len, "sendfile", |done, left| {
                    sendfile(memfd.as_fd(), file, offset + done as u64, left)
                })
            }
            (Way::UdmabufSplice, _, Some(memfd)) => splice_all(memfd, self.len, file, offset),
            _ => {
                let (len, memory) = (self.len, &mut self.memory);
                repeat(len, "read", |done, left| {
                    let offset = offset + done as u64;
                    match memory {
                        Memory::Mapped(mapping) => mapping.fill(done, left, file, offset),
                        Memory::Anonymous(bytes, start) => {
                            pread(file, &mut bytes[*start + done..][..left], offset)
                        }
                        Memory::Unmapped => Err(Errno::FAULT),
                    }
                })
            }
        }
    }

    fn read(&self, at: usize, out: &mut [u8]) -> Result<()> {
        match &self.memory {
            Memory::Mapped(mapping) => mapping.read(at, out).context("read the mapping"),
            Memory::Anonymous(bytes, start) => {
                out.copy_from_slice(&bytes[start + at..][..out.len()]);
                Ok(())
            }
            Memory::Unmapped => bail!("not filled"),
        }
    }
}

/// One `DMA_BUF_IOCTL_RW_FILE` into the first `len` bytes of a buffer.
pub fn rw_file(
    dma_buf: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    file_offset: u64,
    len: u64,
    flags: u32,
) -> Result<()> {
    let request = uapi::dma_buf_rw_file {
        flags: uapi::DMA_BUF_RW_FLAGS_READ | flags,
        file_offset,
        buf_len: len,
        ..Default::default()
    };
    ioctl::dma_buf_rw_file(dma_buf, Some(file), request).context("DMA_BUF_IOCTL_RW_FILE")
}

/// A memfd of `len` bytes that udmabuf takes.
fn memfd(way: Way, len: u64) -> Result<OwnedFd> {
    let huge = match way {
        Way::UdmabufHugeDirectRead => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
        _ => MemfdFlags::empty(),
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | huge;
    let memfd = memfd_create("dmabufio-bench", flags).context("memfd_create")?;
    ftruncate(&memfd, len)?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK)?;
    Ok(memfd)
}

fn map(fd: BorrowedFd<'_>, len: usize) -> Result<Memory> {
    Ok(Memory::Mapped(Mapping::new(fd, 0, len, Access::ReadWrite).context("mmap")?))
}

/// Calls `step` with the number of bytes that are done and left, until none is left.
fn repeat(
    len: usize,
    what: &'static str,
    mut step: impl FnMut(usize, usize) -> rustix::io::Result<usize>,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        match step(done, len - done) {
            Ok(0) => bail!("{what}: the file ended early"),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(what),
        }
    }
    Ok(())
}

/// Moves `len` bytes of `file` from `offset` through a pipe to the start of `memfd`.
fn splice_all(memfd: &OwnedFd, len: usize, file: BorrowedFd<'_>, offset: u64) -> Result<()> {
    let (out, into) = pipe(PIPE).context("pipe")?;
    repeat(len, "splice", |done, left| {
        let filled = splice(file, offset + done as u64, into.as_fd(), left.min(PIPE))?;
        let mut drained = 0;
        while drained < filled {
            let at = (done + drained) as u64;
            drained += splice_into(memfd.as_fd(), at, out.as_fd(), filled - drained)?;
        }
        Ok(filled)
    })
}

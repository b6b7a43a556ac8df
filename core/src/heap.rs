//! The sources of buffers.

pub(crate) mod kind;

pub use kind::Heap;

use crate::buffer::{Buffer, MEMFD_SEALS};
use crate::error::{During, Error, ErrorKind, Result};
use crate::sys::mmap::{Access, Mapping};
use crate::sys::uapi::DMA_HEAP_FLAG_FILL;
use crate::sys::{ioctl, sysconf};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::fs::read_to_string;

const SYSTEM_HEAP: &str = "/dev/dma_heap/system";
const SYSTEM_DIRECT_HEAP: &str = "/dev/dma_heap/system-direct";
const UDMABUF: &str = "/dev/udmabuf";

/// The largest buffer of udmabuf in MiB; 64 by default. A negative number is no limit: the driver
/// reads it as a large unsigned one.
pub const UDMABUF_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";

#[derive(Debug)]
enum Source {
    DmaHeap(Heap, OwnedFd),
    Udmabuf(OwnedFd),
    Memfd,
}

/// A new buffer. A drop frees it, unless somebody else holds its descriptor.
#[derive(Debug)]
pub struct Allocation {
    /// The buffer, readable, writable and close-on-exec.
    pub fd: OwnedFd,
    /// Size in bytes, a multiple of the page size.
    pub size: u64,
    /// The heap that it came from.
    pub heap: Heap,
    /// The mapping of the memfd under a udmabuf, for the allocating process only. Direct I/O can
    /// pin its pages, unlike those of a mapping of the udmabuf (`VM_PFNMAP` since Linux 6.12).
    pub memory: Option<Mapping>,
}

impl Allocation {
    /// The buffer with the name `dmabufio:<uid>:<tag>`, cut to the kernel's limit.
    pub fn named(self, uid: u32, tag: &str) -> Result<Self> {
        self.buffer().set_name(&format!("dmabufio:{uid}:{tag}"))?;
        Ok(self)
    }

    /// The buffer, as an operand of a transfer.
    pub fn buffer(&self) -> Buffer<'_> {
        let buffer = Buffer::allocated(self.fd.as_fd(), self.size, self.heap);
        match &self.memory {
            Some(memory) => buffer.with_memory(memory),
            None => buffer,
        }
    }
}

/// A heap that has been opened.
#[derive(Debug)]
pub struct Allocator {
    source: Source,
    page_size: u64,
    max_bytes: u64,
    clears_late: bool,
}

impl Allocator {
    /// Opens a heap.
    pub fn open(heap: Heap) -> Result<Self> {
        let source = match heap {
            Heap::System => Source::DmaHeap(heap, open_device(SYSTEM_HEAP)?),
            Heap::SystemDirect => Source::DmaHeap(heap, open_device(SYSTEM_DIRECT_HEAP)?),
            Heap::Udmabuf => Source::Udmabuf(open_device(UDMABUF)?),
            Heap::Memfd => Source::Memfd,
        };
        let max_bytes = match heap {
            Heap::Udmabuf => udmabuf_limit().unwrap_or(u64::MAX).min(half_of_memory()),
            Heap::System | Heap::SystemDirect | Heap::Memfd => half_of_memory(),
        };
        let page_size = sysconf::page_size();
        let clears_late = match &source {
            Source::DmaHeap(_, node) => {
                ioctl::heap_alloc(node.as_fd(), page_size, OFlags::RDWR, DMA_HEAP_FLAG_FILL).is_ok()
            }
            Source::Udmabuf(_) | Source::Memfd => false,
        };
        Ok(Self { source, page_size, max_bytes, clears_late })
    }

    /// Which heap this is.
    pub fn heap(&self) -> Heap {
        match self.source {
            Source::DmaHeap(heap, _) => heap,
            Source::Udmabuf(_) => Heap::Udmabuf,
            Source::Memfd => Heap::Memfd,
        }
    }

    /// The page size in bytes.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The largest buffer in bytes: half of the memory, or less if udmabuf allowed less
    /// ([`UDMABUF_LIMIT`]) when the heap was opened.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether the kernel can leave the memory of a buffer for a load as it is
    /// ([`Self::allocate_to_fill`]).
    pub fn clears_late(&self) -> bool {
        self.clears_late
    }

    /// Checks that a buffer can have `size` bytes.
    pub fn check_size(&self, size: u64) -> Result<()> {
        let max = self.max_bytes;
        if size > max && max < half_of_memory() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "size={size}: more than the {max} bytes that udmabuf allows; raise \
                     {UDMABUF_LIMIT}, which is read at start"
                ),
            ));
        }
        if size == 0 || size > max {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("size={size}: not between 1 and {max} bytes"),
            ));
        }
        Ok(())
    }

    /// Allocates a zeroed buffer of at least `size` bytes.
    pub fn allocate(&self, size: u64) -> Result<Allocation> {
        self.allocate_with(size, 0)
    }

    /// The same for a buffer that is to be loaded next. Where the kernel can do so, it clears the
    /// memory only when somebody can first see it, and only what has not been loaded by then.
    pub fn allocate_to_fill(&self, size: u64) -> Result<Allocation> {
        self.allocate_with(size, if self.clears_late { DMA_HEAP_FLAG_FILL } else { 0 })
    }

    fn allocate_with(&self, size: u64, heap_flags: u64) -> Result<Allocation> {
        self.check_size(size)?;
        // At most max_bytes, so it cannot overflow.
        let size = size.next_multiple_of(self.page_size);
        let heap = self.heap();
        let what = || format!("heap {heap}: allocate {size} bytes");
        let mut memory = None;
        let fd = match &self.source {
            Source::DmaHeap(_, node) => {
                ioctl::heap_alloc(node.as_fd(), size, OFlags::RDWR, heap_flags).during(what)?
            }
            Source::Udmabuf(device) => {
                let memfd = sealed_memfd(size, SealFlags::SHRINK).during(what)?;
                memory = map_memory(&memfd, self.page_size, size);
                match ioctl::udmabuf_create(device.as_fd(), memfd.as_fd(), size) {
                    Err(Errno::INVAL) => {
                        return Err(Error::new(
                            ErrorKind::InvalidRequest,
                            format!(
                                "size={size}: more than udmabuf allows; raise {UDMABUF_LIMIT} \
                                 (to 2047 at most without the fix of CVE-2025-37803)"
                            ),
                        ))
                    }
                    result => result.during(what)?,
                }
            }
            Source::Memfd => {
                let memfd = sealed_memfd(size, MEMFD_SEALS).during(what)?;
                // A lack of memory is an error now, and not in a later load.
                fs::fallocate(&memfd, FallocateFlags::empty(), 0, size).during(what)?;
                memfd
            }
        };
        Ok(Allocation { fd, size, heap, memory })
    }

    /// Allocates a buffer and names it after its user.
    pub fn allocate_named(&self, size: u64, uid: u32, tag: &str) -> Result<Allocation> {
        self.allocate(size)?.named(uid, tag)
    }
}

/// Half of the memory in bytes: the largest buffer of the system heap (`system_heap_allocate`).
pub fn half_of_memory() -> u64 {
    sysconf::physical_pages() / 2 * sysconf::page_size()
}

/// The limit of udmabuf in bytes. `None` if there is none, or if this process may not read it; then
/// the driver refuses a buffer that is too large.
fn udmabuf_limit() -> Option<u64> {
    let limit: i64 = read_to_string(UDMABUF_LIMIT).ok()?.trim().parse().ok()?;
    u64::try_from(limit).ok()?.checked_mul(1 << 20)
}

fn open_device(path: &str) -> Result<OwnedFd> {
    // On Android the node of the system heap is read-only, which is enough for its ioctl. The
    // udmabuf driver checks no access mode.
    fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {path}"))
}

/// Creates a memfd of `size` bytes with `seals`, without pages.
///
/// The pages of a udmabuf must not come from `fallocate(2)`: tmpfs zeroes such pages on first use
/// only. udmabuf pins them before, with the old content of another process (seen on Linux 6.12).
///
/// See docs/design/0001-first-slice.md#the-memfd-of-a-udmabuf-gets-no-pages-from-fallocate2
fn sealed_memfd(size: u64, seals: SealFlags) -> rustix::io::Result<OwnedFd> {
    let memfd = fs::memfd_create("dmabufio", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fs::ftruncate(&memfd, size)?;
    fs::fcntl_add_seals(&memfd, seals)?;
    Ok(memfd)
}

/// Maps all of a memfd, in huge pages if the kernel makes them for memfds
/// (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`). Then this function makes all pages now:
/// udmabuf takes them instead of small ones, and direct I/O faults no page in. To make small pages
/// in advance costs more than it saves.
///
/// `None` if there is no room for the mapping, which the buffer does not need.
///
/// See docs/design/0002-predict-do-prove.md#the-allocator-of-a-udmabuf-keeps-the-mapping-of-its-memfd
fn map_memory(memfd: &OwnedFd, page_size: u64, size: u64) -> Option<Mapping> {
    let len = usize::try_from(size).ok()?;
    let mapping = Mapping::new(memfd.as_fd(), 0, len, Access::ReadWrite).ok()?;
    let huge = mapping.want_huge_pages().and_then(|()| {
        mapping.populate(page_size as usize)?;
        // In units of 512 bytes: the memory that came with the first page.
        Ok(fs::fstat(memfd)?.st_blocks as u64 * 512 > page_size)
    });
    if huge == Ok(true) {
        // udmabuf reports an error if a page is missing.
        let _ = mapping.populate(len);
    }
    Some(mapping)
}

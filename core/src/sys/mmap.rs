//! Shared mappings of buffers: memory that only the kernel touches.
//!
//! Devices and other processes share a buffer, so no Rust reference to its memory may exist. A
//! touch of another process's buffer may raise `SIGBUS`. Therefore transfers pass the address to
//! `pread(2)` and `pwrite(2)` only, where a bad page is `EFAULT`. [`Mapping::read`] and
//! [`Mapping::write`] are for a process's own buffers, and so is [`Mapping::address`].
//!
//! See docs/design/0001-first-slice.md#the-service-never-dereferences-a-mapping

use crate::sys::{last_errno, sysconf, uapi};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{self, Errno};
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr::{self, NonNull};

/// The permitted use of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The CPU reads the memory.
    Read,
    /// The CPU reads and writes the memory.
    ReadWrite,
}

/// The size of a huge page where pages have 4 KiB. With larger pages no buffer is made of huge ones.
const HUGE_PAGE: usize = 2 << 20;

/// A shared mapping of a range of a descriptor. Unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    access: Access,
}

// SAFETY: a Mapping is an address range that it alone unmaps; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives system calls, which are memory-safe on the same memory at the same time,
// and `read`. `write` takes `&mut Mapping`, so this process never writes memory while it
// reads it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `mmap(MAP_SHARED)`—Maps `len` bytes of `fd` from `offset`, a multiple of the page size, where
    /// the kernel can map huge pages if the buffer has such.
    #[doc(alias = "mmap")]
    pub fn new(fd: BorrowedFd<'_>, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        let prot = match access {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        let hint = if len < HUGE_PAGE { ptr::null_mut() } else { huge_page_address(offset, len) };
        // SAFETY: a new mapping at an address that the kernel chooses, without MAP_FIXED, aliases no
        // Rust object.
        let start = unsafe { mm::mmap(hint, len, prot, MapFlags::SHARED, fd, offset)? };
        NonNull::new(start).map(|start| Self { start, len, access }).ok_or(Errno::NOMEM)
    }

    /// `madvise(MADV_HUGEPAGE)`—Asks for huge pages. `EINVAL` from a kernel without them.
    #[doc(alias = "MADV_HUGEPAGE")]
    pub fn want_huge_pages(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping, and the advice changes no content.
        unsafe { mm::madvise(self.start.as_ptr(), self.len, Advice::LinuxHugepage) }
    }

    /// `madvise(MADV_POPULATE_WRITE)`—Faults the pages of the first `len` bytes in, to be written.
    /// Since Linux 5.14.
    ///
    /// # References
    ///  - `madvise(2)`
    #[doc(alias = "MADV_POPULATE_WRITE")]
    pub fn populate(&self, len: usize) -> io::Result<()> {
        let (start, _) = self.range(0, len, 0)?;
        // SAFETY: `range` checked that it lies in this mapping; the advice changes no content.
        unsafe { mm::madvise(start, len, Advice::LinuxPopulateWrite) }
    }

    /// `madvise(MADV_POPULATE_READ)`—Whether the first page is an ordinary page, one that direct
    /// I/O can pin. `EINVAL` means a `VM_PFNMAP` or `VM_IO` mapping.
    ///
    /// See docs/design/0001-first-slice.md#mapped-direct-needs-ordinary-pages
    ///
    /// # References
    ///  - `madvise(2)`
    #[doc(alias = "MADV_POPULATE_READ")]
    pub fn is_page_backed(&self, page_size: usize) -> bool {
        let len = page_size.min(self.len);
        // SAFETY: the range lies in this mapping, and the advice changes no content.
        unsafe { mm::madvise(self.start.as_ptr(), len, Advice::LinuxPopulateRead) }.is_ok()
    }

    /// `mincore(2)`—The number of pages of the mapped file that are in the page cache, if the file
    /// belongs to the caller. Touches none of them.
    #[doc(alias = "mincore")]
    pub fn resident_pages(&self) -> io::Result<u64> {
        let mut pages = vec![0; self.len.div_ceil(sysconf::page_size() as usize)];
        // SAFETY: the range is this mapping; the kernel writes one byte for each of its pages to
        // the vector, which has as many and is exclusively borrowed.
        if unsafe { libc::mincore(self.start.as_ptr(), self.len, pages.as_mut_ptr()) } != 0 {
            return Err(last_errno());
        }
        Ok(pages.iter().filter(|page| **page & 1 != 0).count() as u64)
    }

    /// `pread(file)`—Reads from `file` into `len` bytes of the mapping from `at`. Returns how many;
    /// 0 is the end of the file. Not retried on `EINTR`.
    #[doc(alias = "pread")]
    pub fn fill(
        &self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<usize> {
        let (start, offset) = self.range(at, len, offset)?;
        // SAFETY: `range` checked that `len` bytes from `start` lie in this mapping, which lives
        // until after the call; the kernel writes them, to which no Rust reference exists, and
        // keeps no pointer.
        let n = unsafe { libc::pread64(file.as_raw_fd(), start, len, offset) };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// `preadv2(file, RWF_DONTCACHE)`—As [`Mapping::fill`], but leaves the page cache as it was.
    /// `EOPNOTSUPP` before Linux 6.14, and on file systems without support.
    #[doc(alias = "preadv2")]
    pub fn fill_uncached(
        &self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<usize> {
        let (start, offset) = self.range(at, len, offset)?;
        let vector = libc::iovec { iov_base: start, iov_len: len };
        // The kernel takes the offset in two halves, and ignores the second where one long holds it.
        let halves = (offset as libc::c_ulong, (offset >> 32) as libc::c_ulong);
        // SAFETY: as in `fill`; `vector` is live across the call and the kernel only reads it.
        let n = unsafe {
            libc::syscall(
                libc::SYS_preadv2,
                file.as_raw_fd(),
                &raw const vector,
                1_usize,
                halves.0,
                halves.1,
                uapi::RWF_DONTCACHE,
            )
        };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// `pwrite(file)`—Writes `len` bytes of the mapping from `at` to `file`. Returns how many. Not
    /// retried on `EINTR`.
    #[doc(alias = "pwrite")]
    pub fn drain(
        &self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<usize> {
        let (start, offset) = self.range(at, len, offset)?;
        // SAFETY: as in `fill`, with the kernel reading.
        let n = unsafe { libc::pwrite64(file.as_raw_fd(), start, len, offset) };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// Copies `out.len()` bytes out of the mapping from `at`. Raises `SIGBUS` if a page is gone,
    /// which the owner of a buffer can rule out.
    pub fn read(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let (start, _) = self.range(at, out.len(), 0)?;
        // SAFETY: `range` checked the source; `out` is exclusively borrowed and not part of the
        // mapping, to which no reference exists. Bytes that a device writes meanwhile may be old
        // or new, and any byte is a valid u8.
        unsafe { ptr::copy_nonoverlapping(start.cast::<u8>(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies `data` into the mapping, which must be [`Access::ReadWrite`], from `at`. Raises
    /// `SIGBUS` if a page is gone, which the owner of a buffer can rule out.
    ///
    /// ```compile_fail
    /// # use dmabufio_core::sys::mmap::Mapping;
    /// fn write_from_two_threads(mapping: &Mapping) {
    ///     std::thread::scope(|scope| {
    ///         scope.spawn(|| mapping.write(0, b"one"));
    ///         scope.spawn(|| mapping.write(0, b"two"));
    ///     });
    /// }
    /// ```
    pub fn write(&mut self, at: usize, data: &[u8]) -> io::Result<()> {
        if self.access != Access::ReadWrite {
            return Err(Errno::ACCESS);
        }
        let (start, _) = self.range(at, data.len(), 0)?;
        // SAFETY: `range` checked the destination, which is writable; `data` is not part of the
        // mapping, to which no reference exists.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), start.cast::<u8>(), data.len()) };
        Ok(())
    }

    /// The address of the first byte, for code that is not Rust. It is valid for as long as this
    /// value lives.
    pub fn address(&self) -> *mut c_void {
        self.start.as_ptr()
    }

    /// The address of `at`, if `len` bytes from there lie in the mapping, and the file offset as
    /// the kernel takes it.
    fn range(&self, at: usize, len: usize, offset: u64) -> io::Result<(*mut c_void, i64)> {
        let end = at.checked_add(len).ok_or(Errno::FAULT)?;
        if end > self.len {
            return Err(Errno::FAULT);
        }
        let offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
        // SAFETY: `at` is at most `self.len`, so the result is in the mapping or one past its end.
        Ok((unsafe { self.start.as_ptr().byte_add(at) }, offset))
    }
}

/// An address for a mapping of `len` bytes from `offset` that equals the offset modulo the size of a
/// huge page, as huge pages need it; for a dma-buf the kernel does not choose one. It was free a
/// moment ago. Null where there is none, which leaves the choice to the kernel.
fn huge_page_address(offset: u64, len: usize) -> *mut c_void {
    let whole = len.saturating_add(HUGE_PAGE);
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address that the kernel chooses aliases no Rust object.
    let free = unsafe { mm::mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) };
    let Ok(start) = free else { return ptr::null_mut() };
    // SAFETY: the mapping was made above, and nothing refers to it.
    let _ = unsafe { mm::munmap(start, whole) };
    let ahead = (offset as usize).wrapping_sub(start as usize) % HUGE_PAGE;
    start.wrapping_byte_add(ahead)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping and is its only owner; no reference into it exists.
        // It fails only for arguments that mmap would not have returned.
        let _ = unsafe { mm::munmap(self.start.as_ptr(), self.len) };
    }
}

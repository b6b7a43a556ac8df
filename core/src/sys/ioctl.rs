//! The ioctls of dma-heaps, dma-bufs, udmabuf and files.

use crate::sys::uapi;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{self, Errno};
use rustix::ioctl::{
    ioctl, CompileTimeOpcode, Getter, Ioctl, IoctlOutput, Opcode, ReadOpcode, ReadWriteOpcode,
    Setter, Updater, WriteOpcode,
};
use std::ffi::{c_long, c_void};

type HeapAlloc = ReadWriteOpcode<b'H', 0, uapi::dma_heap_allocation_data>;
type BufSync = WriteOpcode<b'b', 0, uapi::dma_buf_sync>;
// The kernel encodes this one with a __u64, though the argument points to a string.
type BufSetName = WriteOpcode<b'b', 1, u64>;
type BufRwFile = WriteOpcode<b'b', 4, uapi::dma_buf_rw_file>;
type BufRwExtents = WriteOpcode<b'b', 5, uapi::dma_buf_rw_extents>;
type UdmabufCreate = WriteOpcode<b'u', 0x42, uapi::udmabuf_create>;
// The kernel encodes this one with a long, though it writes an int.
type GetFlags = ReadOpcode<b'f', 1, c_long>;

/// The request numbers as the kernel sees them, for the ABI test.
#[cfg(test)]
#[allow(clippy::unnecessary_cast, reason = "C libraries differ in the type")]
pub(super) fn opcodes() -> [(&'static str, u32); 7] {
    [
        ("DMA_HEAP_IOCTL_ALLOC", HeapAlloc::OPCODE.raw()),
        ("DMA_BUF_IOCTL_SYNC", BufSync::OPCODE.raw()),
        ("DMA_BUF_SET_NAME_B", BufSetName::OPCODE.raw()),
        ("DMA_BUF_IOCTL_RW_FILE", BufRwFile::OPCODE.raw()),
        ("DMA_BUF_IOCTL_RW_EXTENTS", BufRwExtents::OPCODE.raw()),
        ("UDMABUF_CREATE", UdmabufCreate::OPCODE.raw()),
        ("FS_IOC_GETFLAGS", GetFlags::OPCODE.raw()),
    ]
    .map(|(name, opcode)| (name, opcode as u32))
}

/// `ioctl(heap, DMA_HEAP_IOCTL_ALLOC)`—Allocates a zeroed dma-buf of `len` bytes, close-on-exec.
/// `access` is its access mode; `O_RDWR` makes it writable. `heap_flags` is zero, or
/// `DMA_HEAP_FLAG_*`.
///
/// # References
///  - `Documentation/userspace-api/dma-buf-heaps.rst`
#[doc(alias = "DMA_HEAP_IOCTL_ALLOC")]
pub fn heap_alloc(
    heap: BorrowedFd<'_>,
    len: u64,
    access: OFlags,
    heap_flags: u64,
) -> io::Result<OwnedFd> {
    let mut data = uapi::dma_heap_allocation_data {
        len,
        fd_flags: (access | OFlags::CLOEXEC).bits(),
        heap_flags,
        ..Default::default()
    };
    // SAFETY: `data` is a live, exclusively borrowed dma_heap_allocation_data, the size that the
    // opcode encodes; the kernel keeps no pointer to it.
    unsafe { ioctl(heap, Updater::<HeapAlloc, _>::new(&mut data))? };
    let fd = i32::try_from(data.fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the ioctl succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `ioctl(buf, DMA_BUF_IOCTL_SYNC)`—Brackets CPU access to a mapping. Retried on `EINTR` and
/// `EAGAIN`, as the kernel's documentation asks.
///
/// # References
///  - `include/uapi/linux/dma-buf.h`
#[doc(alias = "DMA_BUF_IOCTL_SYNC")]
pub fn dma_buf_sync(buf: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    loop {
        // SAFETY: the argument is a dma_buf_sync, the size that the opcode encodes; the kernel
        // only reads it and keeps no pointer to it.
        let sync = unsafe { Setter::<BufSync, _>::new(uapi::dma_buf_sync { flags }) };
        // SAFETY: as above.
        match unsafe { ioctl(buf, sync) } {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// `ioctl(buf, DMA_BUF_SET_NAME_B)`—Names a dma-buf for `/proc` and the dma-buf statistics.
///
/// # References
///  - `include/uapi/linux/dma-buf.h`
#[doc(alias = "DMA_BUF_SET_NAME_B")]
pub fn dma_buf_set_name(
    buf: BorrowedFd<'_>,
    name: &[u8; uapi::DMA_BUF_NAME_LEN],
) -> io::Result<()> {
    // SAFETY: the kernel reads a string of at most DMA_BUF_NAME_LEN bytes at the pointer, which is
    // the array's length, and keeps no pointer to it.
    unsafe { ioctl(buf, Setter::<BufSetName, _>::new(*name)) }
}

/// `ioctl(buf, DMA_BUF_IOCTL_RW_FILE)`—Moves data between a dma-buf and `file`, whose descriptor
/// replaces `request.fd`. Without a file the descriptor is -1, which tests for the ioctl. Not
/// retried on `EINTR`.
///
/// # References
///  - `kernel/uapi/dma-buf-rw-file.h`
#[doc(alias = "DMA_BUF_IOCTL_RW_FILE")]
pub fn dma_buf_rw_file(
    buf: BorrowedFd<'_>,
    file: Option<BorrowedFd<'_>>,
    request: uapi::dma_buf_rw_file,
) -> io::Result<()> {
    let fd = file.map_or(-1, |file| file.as_raw_fd());
    let request = uapi::dma_buf_rw_file { fd, ..request };
    // SAFETY: `request` is a dma_buf_rw_file, the size that the opcode encodes; the kernel only
    // reads it and keeps no pointer to it. No memory of this process is written: the data goes to
    // the buffer, to which no Rust reference exists (see `mmap`). The file is open, or there is none.
    unsafe { ioctl(buf, Setter::<BufRwFile, _>::new(request)) }
}

/// `ioctl(buf, DMA_BUF_IOCTL_RW_EXTENTS)`—Moves data between ranges of a dma-buf and of `file`, and
/// sets `done` of each, also where it fails. Without a file the descriptor is -1, which tests for
/// the ioctl. Not retried on `EINTR`.
///
/// # References
///  - `kernel/uapi/dma-buf-rw-file.h`
#[doc(alias = "DMA_BUF_IOCTL_RW_EXTENTS")]
pub fn dma_buf_rw_extents(
    buf: BorrowedFd<'_>,
    file: Option<BorrowedFd<'_>>,
    flags: u32,
    extents: &mut [uapi::dma_buf_rw_extent],
) -> io::Result<()> {
    let mut request = uapi::dma_buf_rw_extents {
        flags,
        fd: file.map_or(-1, |file| file.as_raw_fd()),
        count: u32::try_from(extents.len()).map_err(|_| Errno::INVAL)?,
        reserved: 0,
        extents: extents.as_mut_ptr() as u64,
    };
    // SAFETY: `request` is a dma_buf_rw_extents, the size that the opcode encodes. It points to
    // `count` extents, which are exclusively borrowed; the kernel writes to them during the call
    // only, and any value is valid. An `Updater`, since the compiler may take for granted that a
    // `Setter` lets the kernel write to no memory at all. Otherwise as in `dma_buf_rw_file`.
    unsafe { ioctl(buf, Updater::<BufRwExtents, _>::new(&mut request)) }
}

/// `UDMABUF_CREATE`, which returns a descriptor instead of zero.
struct CreateUdmabuf(uapi::udmabuf_create);

// SAFETY: the kernel reads a udmabuf_create, whose size the opcode encodes, at the pointer and
// keeps no pointer to it; on success it returns a new descriptor that nobody else owns.
unsafe impl Ioctl for CreateUdmabuf {
    type Output = OwnedFd;

    const OPCODE: Opcode = UdmabufCreate::OPCODE;
    const IS_MUTATING: bool = false;

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> io::Result<OwnedFd> {
        // SAFETY: the caller passes the result of the ioctl: a new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// `ioctl(/dev/udmabuf, UDMABUF_CREATE)`—Makes a dma-buf of the pages of a memfd.
///
/// # References
///  - `include/uapi/linux/udmabuf.h`
#[doc(alias = "UDMABUF_CREATE")]
pub fn udmabuf_create(
    device: BorrowedFd<'_>,
    memfd: BorrowedFd<'_>,
    size: u64,
) -> io::Result<OwnedFd> {
    let memfd = u32::try_from(memfd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let flags = uapi::UDMABUF_FLAGS_CLOEXEC;
    let request = uapi::udmabuf_create { memfd, flags, offset: 0, size };
    // SAFETY: CreateUdmabuf upholds the contract of Ioctl.
    unsafe { ioctl(device, CreateUdmabuf(request)) }
}

/// `ioctl(file, FS_IOC_GETFLAGS)`—Returns the inode flags, `FS_*_FL`.
///
/// # References
///  - `ioctl_iflags(2)`
#[doc(alias = "FS_IOC_GETFLAGS")]
pub fn get_flags(file: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the kernel writes a 32-bit integer, not the long that the opcode encodes
    // (`ioctl_getflags` in fs/ioctl.c), and keeps no pointer to it.
    unsafe { ioctl(file, Getter::<GetFlags, u32>::new()) }
}

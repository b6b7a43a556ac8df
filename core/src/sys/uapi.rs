//! The kernel's structures and request numbers, spelled as in its headers.
//!
//! Sources: `include/uapi/linux/{dma-heap,dma-buf,fs,udmabuf,stat,mman}.h` and, for
//! [`dma_buf_rw_file`] and [`DMA_HEAP_FLAG_FILL`], `kernel/uapi/dma-buf-rw-file.h` of this project. `uapi/tests.rs` compares
//! sizes, offsets and numbers with the results of a C compiler for these headers.

#![allow(non_camel_case_types)]

use std::mem::size_of;

/// Argument of `DMA_HEAP_IOCTL_ALLOC`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dma_heap_allocation_data {
    /// Size in bytes; the kernel rounds it up to whole pages.
    pub len: u64,
    /// The new buffer's descriptor, on return.
    pub fd: u32,
    /// `O_*` flags of the new descriptor.
    pub fd_flags: u32,
    /// Zero, or `DMA_HEAP_FLAG_*`; the kernel refuses flags that the heap does not know.
    pub heap_flags: u64,
}

/// The buffer is to be filled by `DMA_BUF_IOCTL_RW_FILE`. It reads as zero all the same: the kernel
/// clears what is not filled when somebody can first see it, instead of all of it now.
pub const DMA_HEAP_FLAG_FILL: u64 = 1 << 63;

/// Argument of `DMA_BUF_IOCTL_SYNC`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dma_buf_sync {
    /// `DMA_BUF_SYNC_*`.
    pub flags: u64,
}

/// The CPU will read, or has read.
pub const DMA_BUF_SYNC_READ: u64 = 1;
/// The CPU will write, or has written.
pub const DMA_BUF_SYNC_WRITE: u64 = 2;
/// CPU access begins.
pub const DMA_BUF_SYNC_START: u64 = 0;
/// CPU access ends.
pub const DMA_BUF_SYNC_END: u64 = 4;

/// The longest name of a dma-buf, with its terminating NUL.
pub const DMA_BUF_NAME_LEN: usize = 32;

/// Argument of `DMA_BUF_IOCTL_RW_FILE`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dma_buf_rw_file {
    /// One of `DMA_BUF_RW_FLAGS_{READ,WRITE}`, with `DMA_BUF_RW_FLAGS_DIRECT` or not.
    pub flags: u32,
    /// The file.
    pub fd: i32,
    /// Bytes from the start of the file.
    pub file_offset: u64,
    /// Bytes from the start of the buffer.
    pub buf_offset: u64,
    /// Bytes to move.
    pub buf_len: u64,
}

/// From the file into the buffer.
pub const DMA_BUF_RW_FLAGS_READ: u32 = 1;
/// From the buffer into the file.
pub const DMA_BUF_RW_FLAGS_WRITE: u32 = 2;
/// Also while devices are attached to the buffer, or the kernel has mapped it.
pub const DMA_BUF_RW_FLAGS_ATTACHED: u32 = 1 << 30;
/// By direct I/O. The offsets and the length are multiples of the page size.
pub const DMA_BUF_RW_FLAGS_DIRECT: u32 = 1 << 31;

/// A range of [`dma_buf_rw_extents`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dma_buf_rw_extent {
    /// Bytes from the start of the file.
    pub file_offset: u64,
    /// Bytes from the start of the buffer.
    pub buf_offset: u64,
    /// Bytes to move.
    pub len: u64,
    /// Bytes that have moved, on return, from the start of the range.
    pub done: u64,
}

/// Argument of `DMA_BUF_IOCTL_RW_EXTENTS`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dma_buf_rw_extents {
    /// As in [`dma_buf_rw_file`].
    pub flags: u32,
    /// The file.
    pub fd: i32,
    /// Number of ranges, from 1 to [`DMA_BUF_RW_EXTENTS_MAX`].
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// Address of the array of [`dma_buf_rw_extent`].
    pub extents: u64,
}

/// The most ranges of one call.
pub const DMA_BUF_RW_EXTENTS_MAX: u32 = 4096;

/// Argument of `UDMABUF_CREATE`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct udmabuf_create {
    /// A memfd, sealed against shrinking.
    pub memfd: u32,
    /// `UDMABUF_FLAGS_*`.
    pub flags: u32,
    /// Bytes from the start of the memfd, a multiple of the page size.
    pub offset: u64,
    /// Bytes, a multiple of the page size.
    pub size: u64,
}

/// The new descriptor is close-on-exec.
pub const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// A time of [`statx`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct statx_timestamp {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: u32,
    reserved: i32,
}

/// Result of `statx(2)`. Declared here because not every libc has the direct I/O fields.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct statx {
    /// Which fields are filled in.
    pub stx_mask: u32,
    /// Preferred I/O size.
    pub stx_blksize: u32,
    /// `STATX_ATTR_*`.
    pub stx_attributes: u64,
    /// Hard links.
    pub stx_nlink: u32,
    /// Owner.
    pub stx_uid: u32,
    /// Group.
    pub stx_gid: u32,
    /// File type and permissions.
    pub stx_mode: u16,
    spare0: u16,
    /// Inode number.
    pub stx_ino: u64,
    /// Size in bytes.
    pub stx_size: u64,
    /// Allocated blocks of 512 bytes.
    pub stx_blocks: u64,
    /// Which attributes are supported.
    pub stx_attributes_mask: u64,
    /// Last access.
    pub stx_atime: statx_timestamp,
    /// Creation.
    pub stx_btime: statx_timestamp,
    /// Last status change.
    pub stx_ctime: statx_timestamp,
    /// Last modification.
    pub stx_mtime: statx_timestamp,
    /// Device of a device file.
    pub stx_rdev_major: u32,
    /// Device of a device file.
    pub stx_rdev_minor: u32,
    /// Device of the file system.
    pub stx_dev_major: u32,
    /// Device of the file system.
    pub stx_dev_minor: u32,
    /// Mount.
    pub stx_mnt_id: u64,
    /// Alignment of memory for direct I/O, in bytes.
    pub stx_dio_mem_align: u32,
    /// Alignment of offset and length for direct I/O, in bytes; 0: no direct I/O on this file.
    pub stx_dio_offset_align: u32,
    spare3: [u64; 12],
}

/// `stx_size`.
pub const STATX_SIZE: u32 = 0x0200;
/// Type, mode, size and the other classic fields.
pub const STATX_BASIC_STATS: u32 = 0x07ff;
/// `stx_dio_*`, since Linux 6.1.
pub const STATX_DIOALIGN: u32 = 0x2000;

/// The file is compressed by the file system.
pub const STATX_ATTR_COMPRESSED: u64 = 0x0004;
/// The file is encrypted by the file system.
pub const STATX_ATTR_ENCRYPTED: u64 = 0x0800;
/// The file has fs-verity.
pub const STATX_ATTR_VERITY: u64 = 0x0010_0000;

/// The data of the file lies in its inode.
pub const FS_INLINE_DATA_FL: u32 = 0x1000_0000;

/// For `preadv2(2)`, since Linux 6.14: the data does not stay in the page cache.
pub const RWF_DONTCACHE: i32 = 0x80;

/// A byte range of `cachestat(2)`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct cachestat_range {
    /// Bytes from the start of the file.
    pub off: u64,
    /// Bytes; 0: to the end of the file.
    pub len: u64,
}

/// Result of `cachestat(2)`, in pages.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct cachestat {
    /// Pages in the page cache.
    pub nr_cache: u64,
    /// Pages not yet written.
    pub nr_dirty: u64,
    /// Pages being written.
    pub nr_writeback: u64,
    /// Pages that were evicted.
    pub nr_evicted: u64,
    /// Pages that were evicted not long ago.
    pub nr_recently_evicted: u64,
}

/// `cachestat(2)` since Linux 6.5; one number on all architectures but Alpha.
pub const SYS_CACHESTAT: i64 = 451;

const _: () = {
    assert!(size_of::<dma_heap_allocation_data>() == 24);
    assert!(size_of::<dma_buf_rw_file>() == 32);
    assert!(size_of::<dma_buf_rw_extent>() == 32);
    assert!(size_of::<dma_buf_rw_extents>() == 24);
    assert!(size_of::<udmabuf_create>() == 24);
    assert!(size_of::<statx>() == 256);
};

#[cfg(test)]
mod tests;

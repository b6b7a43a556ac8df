//! The files of a transfer: checked descriptors of regular files.

use crate::buffer;
use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::Direction;
use crate::heap::kind::Heap;
use crate::sys::{ioctl, pagecache, statx, sysconf, uapi};
use rustix::fd::BorrowedFd;
use rustix::fs::{fadvise, fcntl_get_seals, fcntl_getfl, fstat, fstatfs, Advice, FileType, OFlags};
use std::ops::Range;

/// `FUSE_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
/// `F2FS_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const F2FS_SUPER_MAGIC: u64 = 0xf2f5_2010;
/// `RAMFS_MAGIC` of `include/uapi/linux/magic.h`.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// The place of a file's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    /// A block device.
    Device,
    /// The memory of a tmpfs.
    Memory,
    /// A user-space daemon (FUSE), so the file may stall.
    Daemon,
    /// Nowhere: the kernel makes the content when somebody reads it (procfs, sysfs, debugfs,
    /// cgroups).
    Generated,
    /// Another file system or a server: overlayfs, a mount of an image file, 9p.
    Other,
}

/// A regular file that somebody else owns. Nothing here changes its position or flags.
#[derive(Debug, Clone, Copy)]
pub struct RegularFile<'fd> {
    fd: BorrowedFd<'fd>,
    size: u64,
    flags: OFlags,
    direct_align: Option<u64>,
    attributes: u64,
    storage: Storage,
}

impl<'fd> RegularFile<'fd> {
    /// Checks that `fd` is a regular file and not one that `heap` uses as a buffer.
    pub fn new(fd: BorrowedFd<'fd>, heap: Heap) -> Result<Self> {
        let flags = fcntl_getfl(fd).during(|| "file: fcntl(F_GETFL)")?;
        if flags.contains(OFlags::PATH) {
            return Err(bad("file: an O_PATH descriptor; open the file for reading or writing"));
        }
        let stat = statx::statx(fd, uapi::STATX_BASIC_STATS).during(|| "file: statx")?;
        let file_type = FileType::from_raw_mode(stat.stx_mode.into());
        // Since 6.17 a dma-buf calls itself a regular file. Buffers lie on no block device.
        if file_type != FileType::RegularFile
            || has_no_device(&stat) && buffer::is_buffer(fd, heap)?
        {
            let what = describe(file_type);
            return Err(Error::new(
                ErrorKind::BadDescriptor,
                format!("file: {what}; pass a regular file"),
            ));
        }
        let storage = storage(fd, &stat)?;
        // Without asking the daemon, the kernel may know an old size only.
        let size = if storage == Storage::Daemon { size(fd)? } else { stat.stx_size };
        // Only with a device: elsewhere Linux 6.12 may crash (docs/kernel-reports.md), and the data
        // would go through another page cache.
        let stat = match storage {
            Storage::Device => {
                statx::statx(fd, uapi::STATX_DIOALIGN).during(|| "file: statx(STATX_DIOALIGN)")?
            }
            _ => uapi::statx::default(),
        };
        // Zero: the file system says that this file cannot do direct I/O, or it is too old to
        // answer. No answer counts as no.
        let can_direct = stat.stx_dio_offset_align != 0;
        let says_why = !can_direct && stat.stx_mask & uapi::STATX_DIOALIGN != 0;
        let direct_align =
            can_direct.then(|| u64::from(stat.stx_dio_offset_align.max(stat.stx_dio_mem_align)));
        let attributes = if says_why { stat.stx_attributes } else { 0 };
        Ok(Self { fd, size, flags, direct_align, attributes, storage })
    }

    /// Checks that the descriptor has the access that `direction` needs, and that a load can know
    /// the size of the content.
    pub fn check_access(&self, direction: Direction) -> Result<()> {
        let mode = self.flags & OFlags::RWMODE;
        match direction {
            Direction::Load if mode == OFlags::WRONLY => {
                Err(bad("file: write-only; a load needs O_RDONLY or O_RDWR"))
            }
            // A read would find the size, but could take any time or have side effects (/proc/kmsg,
            // trace_pipe).
            Direction::Load if self.storage == Storage::Generated && self.size == 0 => Err(bad(
                "file: says that it has no bytes, but its file system (procfs, debugfs or the \
                 like) makes content when it is read; load a copy",
            )),
            Direction::Save if mode == OFlags::RDONLY => {
                Err(bad("file: read-only; a save needs O_WRONLY or O_RDWR"))
            }
            Direction::Save if self.flags.contains(OFlags::APPEND) => {
                Err(bad("file: O_APPEND would write elsewhere than at the offset; open without it"))
            }
            Direction::Load | Direction::Save => Ok(()),
        }
    }

    /// The direction that the access mode allows; a load if it allows both.
    pub fn natural_direction(&self) -> Direction {
        if self.flags & OFlags::RWMODE == OFlags::WRONLY {
            Direction::Save
        } else {
            Direction::Load
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }

    /// Size in bytes at the time of the check.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The upper bound of a load, in bytes from the start of the file. This is the size, but a
    /// daemon that reports size 0 may generate content.
    pub(crate) fn end(&self) -> u64 {
        match (self.storage, self.size) {
            (Storage::Daemon, 0) => u64::MAX,
            (_, size) => size,
        }
    }

    /// Whether reads end at the size. On sysfs and 9p, for example, the size may exceed the
    /// content; there, only the counts of reads show how many bytes moved.
    pub(crate) fn has_exact_size(&self) -> bool {
        matches!(self.storage, Storage::Device | Storage::Memory)
    }

    /// The current size in bytes.
    pub fn current_size(&self) -> Result<u64> {
        size(self.fd)
    }

    /// Whether the descriptor was opened with `O_DIRECT`.
    pub fn is_o_direct(&self) -> bool {
        self.flags.contains(OFlags::DIRECT)
    }

    /// The alignment in bytes that direct I/O on this file needs in file and memory, from
    /// `STATX_DIOALIGN`; `None` if the file cannot do direct I/O.
    ///
    /// See docs/design/0001-first-slice.md#direct-io-needs-an-alignment-from-statx_dioalign
    pub fn direct_align(&self) -> Option<u64> {
        self.direct_align
    }

    /// The attributes (`STATX_ATTR_*`) of a file that cannot do direct I/O, which may give the
    /// reason. 0 if the file can do direct I/O (as a file that the disk encrypts), and if its file
    /// system does not answer.
    ///
    /// See docs/design/0002-predict-do-prove.md#statx_dioalign-decides-attributes-explain
    pub(crate) fn obstacles(&self) -> u64 {
        self.attributes
    }

    /// Whether the data lies in the inode and not in blocks of its own. `false` if the kernel does
    /// not answer, and on file systems without a block device, whose answer could take long.
    pub(crate) fn has_inline_data(&self) -> bool {
        self.storage == Storage::Device
            && ioctl::get_flags(self.fd).is_ok_and(|flags| flags & uapi::FS_INLINE_DATA_FL != 0)
    }

    /// The number of pages of a range, in bytes, that are in the page cache.
    ///
    /// The kernel shows this to the owner of the file and to processes that may write it. `None`
    /// for a service with a read-only descriptor of another user's file. Before Linux 6.5, only
    /// the owner learns it.
    /// `None` also on file systems without a block device, because stacked ones cache the data
    /// elsewhere.
    ///
    /// See docs/design/0002-predict-do-prove.md#the-client-looks-at-the-page-cache-for-the-service
    pub fn cached_pages(&self, range: Range<u64>) -> Option<u64> {
        // A length of 0 would mean the rest of the file.
        if self.storage != Storage::Device || range.is_empty() {
            return None;
        }
        let len = range.end - range.start;
        pagecache::cached_pages(self.fd, range.start, len).ok()
    }

    /// Lets the page cache drop the whole pages of a range, in bytes, that are clean.
    pub fn forget(&self, range: Range<u64>) {
        // A page that stays does no harm.
        let _ = fadvise(self.fd, range.start, range.end - range.start, Advice::DontNeed);
    }

    /// Whether the page cache is known to hold more than half of a range.
    pub fn is_mostly_cached(&self, range: Range<u64>) -> bool {
        let half = range.end.saturating_sub(range.start) / 2;
        let cached = self.cached_pages(range).unwrap_or(0);
        cached.saturating_mul(sysconf::page_size()) > half
    }

    /// Whether a sync of the file may flush the device before it has all that the sync wrote.
    ///
    /// See docs/kernel-reports.md#f2fs-the-first-fsync-after-a-checkpoint-does-not-wait-for-its-node
    pub(crate) fn may_sync_early(&self) -> Result<bool> {
        if self.storage != Storage::Device {
            return Ok(false);
        }
        let file_system = fstatfs(self.fd).during(|| "file: fstatfs")?;
        let stat = statx::statx(self.fd, uapi::STATX_BASIC_STATS).during(|| "file: statx")?;
        // For other files, f2fs writes a checkpoint.
        let by_node = stat.stx_nlink == 1 && stat.stx_attributes & uapi::STATX_ATTR_COMPRESSED == 0;
        Ok(file_system.f_type as u64 == F2FS_SUPER_MAGIC && by_node)
    }

    /// Whether the file may stall: a user-space daemon (FUSE) serves it.
    pub fn may_stall(&self) -> bool {
        self.storage == Storage::Daemon
    }
}

/// As [`RegularFile::may_stall`], but asks no file system. Therefore also true for regular files on
/// other file systems that have no block device, such as overlayfs.
pub fn may_stall(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = statx::statx(fd, uapi::STATX_BASIC_STATS).during(|| "file: statx")?;
    let file_type = FileType::from_raw_mode(stat.stx_mode.into());
    Ok(file_type == FileType::RegularFile && known_storage(fd, &stat).is_none())
}

/// The place of a regular file's data. May wait for a daemon if [`may_stall`] is true.
fn storage(fd: BorrowedFd<'_>, stat: &uapi::statx) -> Result<Storage> {
    if let Some(known) = known_storage(fd, stat) {
        return Ok(known);
    }
    let file_system = fstatfs(fd).during(|| "file: fstatfs")?;
    Ok(match file_system.f_type as u64 {
        FUSE_SUPER_MAGIC => Storage::Daemon,
        // A file system that stores data has blocks; ramfs does not count its blocks.
        magic if file_system.f_blocks == 0 && magic != RAMFS_MAGIC => Storage::Generated,
        _ => Storage::Other,
    })
}

fn size(fd: BorrowedFd<'_>) -> Result<u64> {
    let stat = fstat(fd).during(|| "file: fstat")?;
    // Never negative for a regular file.
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// The place of a regular file's data, if the kernel knows it without asking the file system.
fn known_storage(fd: BorrowedFd<'_>, stat: &uapi::statx) -> Option<Storage> {
    if !has_no_device(stat) {
        return Some(Storage::Device);
    }
    // Of the file systems without a block device, only those in memory have seals.
    fcntl_get_seals(fd).is_ok().then_some(Storage::Memory)
}

/// Whether the file system lies on no block device: the kernel numbers those with major 0. Only
/// root mounts FUSE on a block device (`fuseblk`), for trusted daemons.
fn has_no_device(stat: &uapi::statx) -> bool {
    stat.stx_dev_major == 0
}

/// The number of pages of `len` bytes from `offset` that are in the page cache. `len` 0 means to
/// the end of the file.
pub fn cached_pages(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<u64> {
    pagecache::cached_pages(fd, offset, len).during(|| "file: pages in the page cache")
}

/// The name of a file type that is not a regular file, with its article.
pub fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a buffer",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "not a file of any file system (a dma-buf, an eventfd or the like)",
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::BadDescriptor, what)
}

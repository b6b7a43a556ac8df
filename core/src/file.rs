//! The files of a transfer: a descriptor that has been checked to be a regular file.

use crate::dmabuf;
use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::Direction;
use crate::heap::Heap;
use crate::sys::{ioctl, pagecache, statx, sysconf, uapi};
use rustix::fd::BorrowedFd;
use rustix::fs::{fcntl_get_seals, fcntl_getfl, fstat, fstatfs, FileType, OFlags};
use std::ops::Range;

/// `FUSE_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
/// `OVERLAYFS_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;

/// A regular file that somebody else owns. Its position and flags are never changed.
#[derive(Debug, Clone, Copy)]
pub struct RegularFile<'fd> {
    fd: BorrowedFd<'fd>,
    size: u64,
    flags: OFlags,
    direct_align: Option<u64>,
    attributes: u64,
    has_device: bool,
    stalls: bool,
}

impl<'fd> RegularFile<'fd> {
    /// Checks that `fd` is a regular file and not one that `heap` uses as a buffer.
    pub fn new(fd: BorrowedFd<'fd>, heap: Heap) -> Result<Self> {
        let flags = fcntl_getfl(fd).during(|| "file: fcntl(F_GETFL)")?;
        if flags.contains(OFlags::PATH) {
            return Err(bad("file: an O_PATH descriptor; open the file for reading or writing"));
        }
        let stat = statx::statx(fd).during(|| "file: statx")?;
        let file_type = FileType::from_raw_mode(stat.stx_mode.into());
        // Since 6.17 a dma-buf calls itself a regular file. Buffers lie on no block device.
        if file_type != FileType::RegularFile
            || has_no_device(&stat) && dmabuf::is_buffer(fd, heap)?
        {
            let what = describe(file_type);
            return Err(Error::new(
                ErrorKind::BadDescriptor,
                format!("file: {what}; pass a regular file"),
            ));
        }
        let file_system = match may_be_served(fd, &stat) {
            true => Some(fstatfs(fd).during(|| "file: fstatfs")?.f_type as u64),
            false => None,
        };
        let stalls = file_system == Some(FUSE_SUPER_MAGIC);
        // What the kernel knows of a file on FUSE without asking may be old.
        let size = if stalls { size(fd)? } else { stat.stx_size };
        // Zero alignments: the file system says that this file cannot do direct I/O, or is too old
        // to say anything, and then silence is not taken for consent.
        let can_direct = stat.stx_dio_offset_align != 0;
        let says_why = !can_direct && stat.stx_mask & uapi::STATX_DIOALIGN != 0;
        // overlayfs tells the alignments of the file below, and moves data between that and the
        // page cache unless the descriptor itself has O_DIRECT.
        let drops_direct =
            file_system == Some(OVERLAYFS_SUPER_MAGIC) && !flags.contains(OFlags::DIRECT);
        let direct_align = (can_direct && !drops_direct)
            .then(|| u64::from(stat.stx_dio_offset_align.max(stat.stx_dio_mem_align)));
        Ok(Self {
            fd,
            size,
            flags,
            direct_align,
            attributes: if says_why { stat.stx_attributes } else { 0 },
            has_device: !has_no_device(&stat),
            stalls,
        })
    }

    /// Checks that the descriptor has the access that `direction` needs.
    pub fn check_access(&self, direction: Direction) -> Result<()> {
        let mode = self.flags & OFlags::RWMODE;
        match direction {
            Direction::Load if mode == OFlags::WRONLY => {
                Err(bad("file: write-only; a load needs O_RDONLY or O_RDWR"))
            }
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

    /// Size in bytes, when the file was checked.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size in bytes now.
    pub fn current_size(&self) -> Result<u64> {
        size(self.fd)
    }

    /// Whether the descriptor was opened with `O_DIRECT`.
    pub fn is_o_direct(&self) -> bool {
        self.flags.contains(OFlags::DIRECT)
    }

    /// The alignment in bytes that direct I/O on this file needs in file and memory, from
    /// `STATX_DIOALIGN`; `None` if the file cannot do direct I/O.
    pub fn direct_align(&self) -> Option<u64> {
        self.direct_align
    }

    /// The attributes (`STATX_ATTR_*`) of a file that cannot do direct I/O, which may say why. None
    /// if it can: files with the same attributes then can (those encrypted by the disk), or if its
    /// file system does not say whether.
    pub(crate) fn obstacles(&self) -> u64 {
        self.attributes
    }

    /// Whether the data lies in the inode and not in blocks of its own. `false` where the kernel
    /// does not say, and on file systems without a block device, which could take their time.
    pub(crate) fn has_inline_data(&self) -> bool {
        self.has_device
            && ioctl::get_flags(self.fd).is_ok_and(|flags| flags & uapi::FS_INLINE_DATA_FL != 0)
    }

    /// How many pages of a range, in bytes, are in the page cache.
    ///
    /// The kernel tells that to those who may write the file, and to its owner. For a service that
    /// was passed somebody else's read-only descriptor, and before Linux 6.5, it is `None`; and on
    /// file systems without a block device, because stacked ones cache the data elsewhere.
    pub fn cached_pages(&self, range: Range<u64>) -> Option<u64> {
        // A length of 0 would mean the rest of the file.
        if !self.has_device || range.is_empty() {
            return None;
        }
        let len = range.end - range.start;
        Some(pagecache::cachestat(self.fd, range.start, len).ok()?.nr_cache)
    }

    /// Whether the page cache is known to hold more than half of a range.
    pub fn is_mostly_cached(&self, range: Range<u64>) -> bool {
        let half = range.end.saturating_sub(range.start) / 2;
        let cached = self.cached_pages(range).unwrap_or(0);
        cached.saturating_mul(sysconf::page_size()) > half
    }

    /// Whether a user-space daemon answers for this file, and may not.
    pub fn stalls(&self) -> bool {
        self.stalls
    }
}

/// Whether a user-space daemon could be asked about this file, found out without asking one. True
/// for regular files on FUSE, and on others that have no block device, such as overlayfs.
pub fn may_stall(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = statx::statx(fd).during(|| "file: statx")?;
    let file_type = FileType::from_raw_mode(stat.stx_mode.into());
    Ok(file_type == FileType::RegularFile && may_be_served(fd, &stat))
}

fn size(fd: BorrowedFd<'_>) -> Result<u64> {
    let stat = fstat(fd).during(|| "file: fstat")?;
    // Never negative for a regular file.
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Whether the file system lies on no block device, and not in memory either, where files have
/// seals.
fn may_be_served(fd: BorrowedFd<'_>, stat: &uapi::statx) -> bool {
    has_no_device(stat) && fcntl_get_seals(fd).is_err()
}

/// Whether the file system lies on no block device: the kernel numbers those with major 0. FUSE on
/// a block device (`fuseblk`) is mounted by root only, for daemons that are trusted.
fn has_no_device(stat: &uapi::statx) -> bool {
    stat.stx_dev_major == 0
}

/// How many pages of `len` bytes from `offset` are in the page cache. `len` 0 means to the end of
/// the file.
pub fn cached_pages(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<u64> {
    Ok(pagecache::cachestat(fd, offset, len).during(|| "file: cachestat")?.nr_cache)
}

/// What a file that is no regular file is, with its article.
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

//! Chooses how bytes move.
//!
//! [`Support`] says what a buffer can do, found by probing; [`Route`] is the choice for one buffer
//! and one file. The methods themselves are in `method/`, one file each; [`run`] calls them and is
//! the only place that knows what to do about `EINTR`.

mod mapped;
mod rw_file;

use crate::dmabuf::DmaBuf;
use crate::error::{Error, ErrorKind, Result};
use crate::extent::Direction;
use crate::file::RegularFile;
use crate::sys::{sysconf, uapi};
use rustix::io::Errno;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

/// The longest piece that is moved by one system call, in bytes. The kernel moves no
/// more at a time either (`DMA_BUF_FILE_IO_CHUNK`).
pub const MAX_PIECE: u64 = 64 << 20;

/// The same on a file that may stall, where the end of a piece is the only sign of life.
pub const MAX_STALLING_PIECE: u64 = 64 << 10;

/// A way of moving bytes between a file and a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `DMA_BUF_IOCTL_RW_FILE` with `DIRECT`.
    RwFileDirect,
    /// `DMA_BUF_IOCTL_RW_FILE` without `DIRECT`.
    RwFileBuffered,
    /// `O_DIRECT` read or write on a mapping of the buffer.
    MappedDirect,
    /// read or write on a mapping of the buffer.
    MappedBuffered,
}

impl Method {
    /// All methods, best first.
    pub const ALL: [Self; 4] =
        [Self::RwFileDirect, Self::RwFileBuffered, Self::MappedDirect, Self::MappedBuffered];

    /// Whether it goes past the page cache.
    pub fn is_direct(self) -> bool {
        self != self.buffered()
    }

    /// The same method through the page cache.
    pub fn buffered(self) -> Self {
        match self {
            Self::RwFileDirect | Self::RwFileBuffered => Self::RwFileBuffered,
            Self::MappedDirect | Self::MappedBuffered => Self::MappedBuffered,
        }
    }
}

impl Display for Method {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RwFileDirect => "rw_file direct",
            Self::RwFileBuffered => "rw_file buffered",
            Self::MappedDirect => "mapped direct",
            Self::MappedBuffered => "mapped buffered",
        })
    }
}

/// Why bytes do not take the best path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// [`Mode::Buffered`] was asked for.
    Requested,
    /// The kernel has no `DMA_BUF_IOCTL_RW_FILE`.
    NoIoctl,
    /// The buffer's exporter does not implement it.
    Exporter,
    /// A device is attached to the buffer, or the kernel has it mapped.
    BufferBusy,
    /// The file, or its file system, cannot do direct I/O for a reason that it does not tell.
    FileNotDirect,
    /// The file has fs-verity, and what is read is verified in the page cache.
    FileVerity,
    /// The file is compressed.
    FileCompressed,
    /// The file is encrypted by the CPU and not inline, on the way to the disk.
    FileEncrypted,
    /// The file is so small that its data lies in the inode.
    FileInlineData,
    /// A user-space daemon answers for the file system, and may not.
    FileSystemStalls,
    /// The file offset and the buffer offset differ modulo the alignment of direct I/O.
    Unaligned,
    /// Direct I/O through a mapping needs a descriptor opened with `O_DIRECT`.
    DescriptorNotDirect,
    /// The page cache holds most of it already, and copying is faster than reading again.
    Resident,
}

impl Display for FallbackReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "buffered mode was asked for",
            Self::NoIoctl => "the kernel has no DMA_BUF_IOCTL_RW_FILE",
            Self::Exporter => "the buffer's exporter does not implement DMA_BUF_IOCTL_RW_FILE",
            Self::BufferBusy => "the buffer is attached to a device",
            Self::FileNotDirect => "the file or its file system cannot do direct I/O",
            Self::FileVerity => "the file has fs-verity, which needs the page cache",
            Self::FileCompressed => "the file is compressed",
            Self::FileEncrypted => "the file is encrypted without inline encryption",
            Self::FileInlineData => "the file's data lies in its inode",
            Self::FileSystemStalls => "the file system is served by a user-space daemon",
            Self::Unaligned => "file offset and buffer offset differ modulo the page size",
            Self::DescriptorNotDirect => "the file was opened without O_DIRECT",
            Self::Resident => "most of it is in the page cache already",
        })
    }
}

/// How much of a transfer must bypass the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The best path there is.
    #[default]
    Auto,
    /// Every body byte by direct I/O, or nothing.
    Direct,
    /// Nothing by direct I/O.
    Buffered,
}

/// What can be done with a buffer. Made by [`crate::probe::buffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Why `DMA_BUF_IOCTL_RW_FILE` does not work on it, if it does not.
    pub no_rw_file: Option<FallbackReason>,
    /// Whether a mapping of it consists of ordinary pages, which direct I/O can pin. Not probed
    /// where `DMA_BUF_IOCTL_RW_FILE` works, which is better.
    pub page_backed: bool,
}

impl Support {
    /// The methods that work, best first.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        Method::ALL.into_iter().filter(|method| match method {
            Method::RwFileDirect | Method::RwFileBuffered => self.no_rw_file.is_none(),
            Method::MappedDirect => self.page_backed,
            Method::MappedBuffered => true,
        })
    }
}

/// The choice for one buffer, one file and one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// For aligned bodies, if they can go direct.
    pub direct: Option<Method>,
    /// For edges, and for bodies that cannot go direct.
    pub copy: Method,
    /// What direct I/O needs of file offset, buffer offset and length, in bytes. A power of two.
    pub align: u64,
    /// Why bodies do not take the best path; `None` if they do.
    pub reason: Option<FallbackReason>,
    /// Whether the mapped method leaves no trace of a load in the page cache, where the kernel can
    /// (`RWF_DONTCACHE`).
    pub uncached: bool,
}

impl Route {
    /// Chooses the first method of the ladder that buffer, file and mode allow.
    pub fn choose(support: Support, file: &RegularFile<'_>, mode: Mode) -> Result<Self> {
        if mode == Mode::Buffered && file.is_o_direct() {
            return Err(Error::new(
                ErrorKind::BadDescriptor,
                "file: opened with O_DIRECT, which rules out mode BUFFERED; open it without",
            ));
        }
        let align = file.direct_align().unwrap_or(0).max(sysconf::page_size());
        // The kernel honours O_DIRECT of the descriptor in the buffered ioctl too, and its
        // alignment rules with it; a mapping can bounce.
        // And it does not say how much moved, so it is for files whose size does.
        let copy = match support.no_rw_file {
            None if !file.is_o_direct() && file.has_exact_size() => Method::RwFileBuffered,
            _ => Method::MappedBuffered,
        };
        // Who asks for `Buffered` wants the page cache filled, who opens with O_DIRECT never does.
        let uncached = mode == Mode::Auto && !file.is_o_direct();
        let route = Self { direct: None, copy, align, reason: None, uncached };
        let copied = |copy, reason| Self { copy, reason: Some(reason), ..route };
        if file.stalls() {
            return Ok(copied(copy, FallbackReason::FileSystemStalls));
        }
        if mode == Mode::Buffered {
            return Ok(copied(copy, FallbackReason::Requested));
        }
        let can_direct = file.direct_align().is_some();
        Ok(match support.no_rw_file {
            None if can_direct => Self { direct: Some(Method::RwFileDirect), ..route },
            None => copied(copy, not_direct(file)),
            Some(reason) if !support.page_backed => copied(copy, reason),
            // The reasons that the caller can do something about.
            Some(_) if !can_direct => copied(copy, not_direct(file)),
            Some(_) if !file.is_o_direct() => copied(copy, FallbackReason::DescriptorNotDirect),
            Some(reason) => {
                Self { direct: Some(Method::MappedDirect), reason: Some(reason), ..route }
            }
        })
    }

    /// The next step down from `method` after it failed with `errno` on this buffer or file, or
    /// `None` if that errno is a real failure.
    pub fn step_down(self, method: Method, errno: Errno) -> Option<Self> {
        let copied = |copy, reason| Some(Self { direct: None, copy, reason: Some(reason), ..self });
        match (method, errno) {
            (Method::RwFileDirect | Method::RwFileBuffered, Errno::BUSY) => {
                copied(Method::MappedBuffered, FallbackReason::BufferBusy)
            }
            // A swap file in use, which anybody may read in other ways.
            (Method::RwFileDirect | Method::RwFileBuffered, Errno::TXTBSY) => {
                copied(Method::MappedBuffered, FallbackReason::FileNotDirect)
            }
            (Method::RwFileDirect, Errno::INVAL | Errno::OPNOTSUPP) => {
                copied(self.copy, FallbackReason::FileNotDirect)
            }
            (Method::MappedDirect, Errno::INVAL | Errno::OPNOTSUPP | Errno::FAULT) => {
                copied(self.copy, FallbackReason::FileNotDirect)
            }
            _ => None,
        }
    }
}

/// Why `file`, which cannot do direct I/O, cannot.
fn not_direct(file: &RegularFile<'_>) -> FallbackReason {
    let obstacles = [
        (uapi::STATX_ATTR_VERITY, FallbackReason::FileVerity),
        (uapi::STATX_ATTR_COMPRESSED, FallbackReason::FileCompressed),
        (uapi::STATX_ATTR_ENCRYPTED, FallbackReason::FileEncrypted),
    ];
    let known = obstacles.into_iter().find(|(attribute, _)| file.obstacles() & attribute != 0);
    match known {
        Some((_, reason)) => reason,
        None if file.has_inline_data() => FallbackReason::FileInlineData,
        None => FallbackReason::FileNotDirect,
    }
}

/// A range that one call moves: at most [`MAX_PIECE`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes from the start of the file.
    pub file_offset: u64,
    /// Bytes from the start of the buffer.
    pub buffer_offset: u64,
    /// Bytes to move.
    pub len: u64,
}

impl Piece {
    /// The bytes of the file.
    pub fn in_file(self) -> Range<u64> {
        self.file_offset..self.file_offset + self.len
    }
}

/// A piece to move, and between what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub buffer: &'a DmaBuf<'a>,
    pub file: &'a RegularFile<'a>,
    pub direction: Direction,
    pub piece: Piece,
    /// As [`Route::uncached`].
    pub uncached: bool,
}

/// Moves a piece and returns how many bytes moved: fewer only if a load met the end of the file.
/// On failure any part of the destination may have changed.
pub(crate) fn run(method: Method, job: Job<'_>) -> Result<u64> {
    loop {
        let result = match method {
            Method::RwFileDirect => rw_file::direct(job),
            Method::RwFileBuffered => rw_file::buffered(job),
            Method::MappedDirect => mapped::direct(job),
            Method::MappedBuffered => mapped::buffered(job),
        };
        match result {
            // Nothing is known of what moved, and moving it again does no harm.
            Err(error) if error.errno() == Some(Errno::INTR) => {}
            result => return result.map_err(Error::of_io),
        }
    }
}

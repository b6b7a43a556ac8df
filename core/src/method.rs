//! The methods that move bytes, and the reasons for a fallback.

use std::fmt::{self, Display, Formatter};

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

    /// Whether it bypasses the page cache.
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

/// The reason why bytes do not take the best path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// The caller asked for [`Mode::Buffered`].
    Requested,
    /// The kernel has no `DMA_BUF_IOCTL_RW_FILE`.
    NoIoctl,
    /// The buffer's exporter does not implement it.
    Exporter,
    /// A device waits to attach to the buffer; or one is attached, or the kernel has mapped the
    /// buffer, and it has no `DMA_BUF_IOCTL_RW_EXTENTS`.
    BufferBusy,
    /// The file, or its file system, cannot do direct I/O, and the file system does not give the
    /// reason.
    FileNotDirect,
    /// The file has fs-verity: the kernel verifies its data in the page cache.
    FileVerity,
    /// The file system compresses the file.
    FileCompressed,
    /// The CPU encrypts the file, and not the inline encryption of the disk.
    FileEncrypted,
    /// The file is so small that its data lies in the inode.
    FileInlineData,
    /// The file may stall: a user-space daemon serves its file system.
    FileSystemStalls,
    /// The file offset and the buffer offset differ modulo the alignment of direct I/O.
    Unaligned,
    /// Direct I/O through a mapping needs a descriptor opened with `O_DIRECT`.
    DescriptorNotDirect,
    /// The page cache holds most of the run already, and a copy is faster than a second read.
    Resident,
}

impl Display for FallbackReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "buffered mode was asked for",
            Self::NoIoctl => "the kernel has no DMA_BUF_IOCTL_RW_FILE",
            Self::Exporter => "the buffer's exporter does not implement DMA_BUF_IOCTL_RW_FILE",
            Self::BufferBusy => "a device is or will be attached to the buffer",
            Self::FileNotDirect => "the file or its file system cannot do direct I/O",
            Self::FileVerity => "the file has fs-verity, which needs the page cache",
            Self::FileCompressed => "the file is compressed",
            Self::FileEncrypted => "the file is encrypted without inline encryption",
            Self::FileInlineData => "the file's data lies in its inode",
            Self::FileSystemStalls => "the file system is served by a user-space daemon",
            Self::Unaligned => "file offset and buffer offset differ modulo the page size",
            Self::DescriptorNotDirect => {
                "the file was opened without O_DIRECT; open it with O_DIRECT to go direct"
            }
            Self::Resident => "most of it is in the page cache already",
        })
    }
}

/// Controls whether a transfer bypasses the page cache.
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

/// The abilities of a buffer, as [`crate::probe`] finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Whether `DMA_BUF_IOCTL_RW_FILE` works on it, or the reason why it does not.
    pub rw_file: Result<(), FallbackReason>,
    /// Whether `DMA_BUF_IOCTL_RW_EXTENTS` works as well: it moves many ranges with one call, counts
    /// the bytes, and moves them while devices are attached to the buffer, too.
    pub rw_extents: bool,
    /// Whether a mapping of it consists of ordinary pages, which direct I/O can pin. Not probed if
    /// `DMA_BUF_IOCTL_RW_FILE` works, which is better.
    pub page_backed: bool,
}

impl Support {
    /// The methods that work, best first.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        Method::ALL.into_iter().filter(|method| match method {
            Method::RwFileDirect | Method::RwFileBuffered => self.rw_file.is_ok(),
            Method::MappedDirect => self.page_backed,
            Method::MappedBuffered => true,
        })
    }
}

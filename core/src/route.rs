//! Chooses the methods for one buffer and one file.

use crate::error::{Error, ErrorKind, Result};
use crate::file::RegularFile;
use crate::method::{FallbackReason, Method, Mode, Support};
use crate::sys::{sysconf, uapi};
use rustix::io::Errno;

/// The choice for one buffer, one file and one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// For aligned bodies, if they can go direct.
    pub direct: Option<Method>,
    /// For edges, and for bodies that cannot go direct.
    pub copy: Method,
    /// The alignment that direct I/O needs of file offset, buffer offset and length, in bytes. A
    /// power of two.
    pub align: u64,
    /// The reason why bodies do not take the best path; `None` if they do.
    pub reason: Option<FallbackReason>,
    /// Whether the ioctl is `DMA_BUF_IOCTL_RW_EXTENTS`.
    pub extents: bool,
    /// Whether a load by the mapped method leaves the page cache as it was (`RWF_DONTCACHE`).
    ///
    /// See docs/design/0002-predict-do-prove.md#rwf_dontcache-is-used-in-mode-auto-only
    pub uncached: bool,
}

impl Route {
    /// Chooses the first method of the ladder that buffer, file and mode allow.
    ///
    /// See docs/design/0001-first-slice.md#modebuffered-needs-a-descriptor-without-o_direct
    pub fn choose(support: Support, file: &RegularFile<'_>, mode: Mode) -> Result<Self> {
        if mode == Mode::Buffered && file.is_o_direct() {
            return Err(Error::new(
                ErrorKind::BadDescriptor,
                "file: opened with O_DIRECT, which rules out mode BUFFERED; open it without",
            ));
        }
        let align = file.direct_align().unwrap_or(0).max(sysconf::page_size());
        // In the buffered ioctl, too, the kernel obeys O_DIRECT of the descriptor and its alignment
        // rules. A mapping can use a bounce buffer.
        // See docs/design/0001-first-slice.md#the-buffered-ioctl-follows-the-descriptors-o_direct
        // Nor does the ioctl return a count, so it needs a file with an exact size.
        let copy = match support.rw_file {
            Ok(()) if !file.is_o_direct() && file.has_exact_size() => Method::RwFileBuffered,
            _ => Method::MappedBuffered,
        };
        // A caller of `Buffered` wants to fill the page cache; a caller with O_DIRECT never does.
        let uncached = mode == Mode::Auto && !file.is_o_direct();
        let extents = support.rw_extents;
        let route = Self { direct: None, copy, align, reason: None, extents, uncached };
        let buffered = |reason| Self { reason: Some(reason), ..route };
        if file.may_stall() {
            return Ok(buffered(FallbackReason::FileSystemStalls));
        }
        if mode == Mode::Buffered {
            return Ok(buffered(FallbackReason::Requested));
        }
        let can_direct = file.direct_align().is_some();
        Ok(match support.rw_file {
            Ok(()) if can_direct => Self { direct: Some(Method::RwFileDirect), ..route },
            Ok(()) => buffered(why_not_direct(file)),
            Err(reason) if !support.page_backed => buffered(reason),
            // First the reasons that the caller can remove.
            Err(_) if !can_direct => buffered(why_not_direct(file)),
            Err(_) if !file.is_o_direct() => buffered(FallbackReason::DescriptorNotDirect),
            Err(reason) => {
                Self { direct: Some(Method::MappedDirect), reason: Some(reason), ..route }
            }
        })
    }

    /// The route after `method` failed with `errno` on this buffer or file; `None` if that errno is
    /// a real failure.
    pub fn step_down(self, method: Method, errno: Errno) -> Option<Self> {
        let buffered =
            |copy, reason| Some(Self { direct: None, copy, reason: Some(reason), ..self });
        match (method, errno) {
            (Method::RwFileDirect | Method::RwFileBuffered, Errno::BUSY) => {
                buffered(Method::MappedBuffered, FallbackReason::BufferBusy)
            }
            // A swap file in use, which the other methods can read.
            (Method::RwFileDirect | Method::RwFileBuffered, Errno::TXTBSY) => {
                buffered(Method::MappedBuffered, FallbackReason::FileNotDirect)
            }
            (Method::RwFileDirect, Errno::INVAL | Errno::OPNOTSUPP) => {
                buffered(self.copy, FallbackReason::FileNotDirect)
            }
            (Method::MappedDirect, Errno::INVAL | Errno::OPNOTSUPP | Errno::FAULT) => {
                buffered(self.copy, FallbackReason::FileNotDirect)
            }
            _ => None,
        }
    }
}

/// The reason why `file` cannot do direct I/O.
fn why_not_direct(file: &RegularFile<'_>) -> FallbackReason {
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

//! Chooses how the bytes between one buffer and one file move.

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
    /// What direct I/O needs of file offset, buffer offset and length, in bytes. A power of two.
    pub align: u64,
    /// Why bodies do not take the best path; `None` if they do.
    pub reason: Option<FallbackReason>,
    /// Whether the mapped method leaves no trace of a load in the page cache, where the kernel can
    /// (`RWF_DONTCACHE`).
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
        // The kernel honours O_DIRECT of the descriptor in the buffered ioctl too, and its
        // alignment rules with it; a mapping can bounce.
        // See docs/design/0001-first-slice.md#the-buffered-ioctl-follows-the-descriptors-o_direct
        // The ioctl does not say how much moved either, so it is for files whose size does.
        let copy = match support.rw_file {
            Ok(()) if !file.is_o_direct() && file.has_exact_size() => Method::RwFileBuffered,
            _ => Method::MappedBuffered,
        };
        // Who asks for `Buffered` wants the page cache filled, who opens with O_DIRECT never does.
        let uncached = mode == Mode::Auto && !file.is_o_direct();
        let route = Self { direct: None, copy, align, reason: None, uncached };
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
            // The reasons that the caller can do something about.
            Err(_) if !can_direct => buffered(why_not_direct(file)),
            Err(_) if !file.is_o_direct() => buffered(FallbackReason::DescriptorNotDirect),
            Err(reason) => {
                Self { direct: Some(Method::MappedDirect), reason: Some(reason), ..route }
            }
        })
    }

    /// The next step down from `method` after it failed with `errno` on this buffer or file, or
    /// `None` if that errno is a real failure.
    pub fn step_down(self, method: Method, errno: Errno) -> Option<Self> {
        let buffered =
            |copy, reason| Some(Self { direct: None, copy, reason: Some(reason), ..self });
        match (method, errno) {
            (Method::RwFileDirect | Method::RwFileBuffered, Errno::BUSY) => {
                buffered(Method::MappedBuffered, FallbackReason::BufferBusy)
            }
            // A swap file in use, which anybody may read in other ways.
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

/// Why `file`, which cannot do direct I/O, cannot.
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

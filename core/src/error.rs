//! The reason of a failed request: a kind for programs and a message for people.

use rustix::io::Errno;
use std::fmt::{self, Display, Formatter};

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of a failure. The table says how the caller should react.
///
/// | kind | from | binder status | the caller should |
/// |---|---|---|---|
/// | `InvalidRequest` | an extent, a size or an enum | `EX_ILLEGAL_ARGUMENT` | fix the call |
/// | `BadDescriptor` | wrong type or access mode of a descriptor | `EX_ILLEGAL_ARGUMENT` | fix the call |
/// | `PermissionDenied` | `EACCES`, `EPERM` | `EX_SECURITY` | stop |
/// | `Unsupported` | `EOPNOTSUPP`, `ENOTTY`, `ENOSYS` before I/O | `EX_UNSUPPORTED_OPERATION` | take another path |
/// | `NotDirect` | direct I/O demanded and not possible | service-specific `NOT_DIRECT` | ask for less |
/// | `Busy` | `EBUSY`, `EAGAIN`, `ETXTBSY` | service-specific `BUSY` | retry later |
/// | `NoMemory` | `ENOMEM`, `EMFILE`, `ENFILE` | service-specific `NO_MEMORY` | shed load |
/// | `NoSpace` | `ENOSPC`, `EDQUOT`, `EFBIG` | service-specific `NO_SPACE` | free space |
/// | `QuotaExceeded` | the user has as much as it may have | service-specific `QUOTA_EXCEEDED` | free some of its own |
/// | `TimedOut` | the file made no progress | service-specific `TIMED_OUT` | look at who serves or holds the file |
/// | `Cancelled` | the caller gave the request up | service-specific `CANCELLED` | nothing: it asked for this |
/// | `Io` | any other errno; `EINVAL` too: the request has been checked before | service-specific `IO` | report |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An extent, a size or an enum is malformed.
    InvalidRequest,
    /// A descriptor is of the wrong type or lacks the access that the request needs.
    BadDescriptor,
    /// The kernel refuses access.
    PermissionDenied,
    /// The operation is not possible with this kernel, buffer or file.
    Unsupported,
    /// The caller demanded direct I/O, but a body byte cannot go direct. No byte has moved.
    NotDirect,
    /// The buffer is attached to a device, or another resource is busy.
    Busy,
    /// Not enough memory, or not enough descriptors.
    NoMemory,
    /// No space or quota on the file system, or the file would grow too large.
    NoSpace,
    /// The user has as many buffers or requests as it may have. The message names the limit and the
    /// use.
    QuotaExceeded,
    /// The file made no progress: a user-space daemon does not answer for it, or somebody holds it.
    TimedOut,
    /// The caller gave the request up, or died, before it had finished.
    Cancelled,
    /// Anything else that the kernel reports.
    Io,
}

impl From<Errno> for ErrorKind {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::PermissionDenied,
            Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS => Self::Unsupported,
            Errno::BUSY | Errno::AGAIN | Errno::TXTBSY => Self::Busy,
            Errno::NOMEM | Errno::MFILE | Errno::NFILE => Self::NoMemory,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace,
            _ => Self::Io,
        }
    }
}

/// A failure: its kind, the operation with its operand, and the errno if the kernel reported one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    errno: Option<Errno>,
}

impl Error {
    /// A failure found by this crate. `what` names the operand: `extent 3: length=0: ...`.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), errno: None }
    }

    /// A failure that the kernel reported while doing `what`.
    pub fn from_errno(what: impl Into<String>, errno: Errno) -> Self {
        Self { kind: errno.into(), what: what.into(), errno: Some(errno) }
    }

    /// The same failure, after bytes may have moved. `Unsupported` promises that nothing has
    /// changed, so it becomes `Io`.
    pub(crate) fn of_io(self) -> Self {
        match self.kind {
            ErrorKind::Unsupported => Self { kind: ErrorKind::Io, ..self },
            _ => self,
        }
    }

    /// The same failure, with the extent that it happened in.
    pub fn in_extent(self, index: usize) -> Self {
        Self { what: format!("extent {index}: {}", self.what), ..self }
    }

    /// The same failure, with the item of a load that it happened in.
    pub fn in_item(self, index: usize) -> Self {
        Self { what: format!("item {index}: {}", self.what), ..self }
    }

    /// The same failure, with the frame of a stream that it happened in.
    pub fn in_frame(self, number: u64, file_offset: u64) -> Self {
        let place = format!("frame {number}: file_offset={file_offset}");
        Self { what: format!("{place}: {}", self.what), ..self }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The errno, if the kernel reported one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.errno {
            Some(errno) => write!(f, ": {errno}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Adds the operation to a kernel error.
pub trait During<T> {
    /// Calls `what` on failure only.
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::from_errno(what(), errno))
    }
}

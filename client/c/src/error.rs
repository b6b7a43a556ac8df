//! The error object.

use dmabufio_client::model::ModelError;
use dmabufio_client::snapshot::SnapshotError;
use dmabufio_client::Error as ClientError;
use dmabufio_core::error::{Error as CoreError, ErrorKind as CoreKind};
use rustix::io::Errno;
use std::any::Any;
use std::ffi::CString;
use std::fmt::Display;

/// The kind of a failure.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no error.
    None = 0,
    /// An argument is malformed.
    InvalidRequest = 1,
    /// A descriptor is of the wrong type or lacks the access that the request needs.
    BadDescriptor = 2,
    /// The kernel, or the policy of the device, refuses access.
    PermissionDenied = 3,
    /// The operation is not possible with this kernel, buffer, file or service.
    Unsupported = 4,
    /// The caller demanded direct I/O, but not all bytes can go direct. No byte has moved.
    NotDirect = 5,
    /// A resource is busy: retry later.
    Busy = 6,
    /// Not enough memory, or not enough descriptors.
    NoMemory = 7,
    /// This user would exceed its quota. The text names the limit and the use.
    QuotaExceeded = 8,
    /// No space or quota on the file system, or above the size cap of a store.
    NoSpace = 9,
    /// The file made no progress.
    TimedOut = 10,
    /// The caller cancelled the request.
    Cancelled = 11,
    /// Anything else that the kernel reports.
    Io = 12,
    /// The service cannot be reached.
    Unreachable = 13,
    /// The service died before it answered. What it has done is unknown; the caller may make the
    /// request again. Buffers stay valid.
    Died = 14,
    /// The model or the snapshot contradicts its format. The text names the field and the offset.
    Malformed = 15,
    /// There is no such tensor or snapshot.
    NotFound = 16,
    /// A bug in this library.
    Internal = 17,
}

/// A failure: a kind for programs and a text for people.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub errno: Option<Errno>,
    pub message: CString,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Display) -> Self {
        // A name of a file or a tensor may have a zero byte, which would end the text.
        let text = message.to_string().replace('\0', "\\0");
        Self { kind, errno: None, message: CString::new(text).unwrap_or_default() }
    }

    pub fn invalid(message: impl Display) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    pub fn no_tensor(name: &str) -> Self {
        ModelError::NoSuchTensor(name.to_owned()).into()
    }

    /// The error for a panic of this library.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a text");
        Self::new(ErrorKind::Internal, format!("bug in dmabufio: {text}"))
    }
}

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        let kind = match error.kind() {
            CoreKind::InvalidRequest => ErrorKind::InvalidRequest,
            CoreKind::BadDescriptor => ErrorKind::BadDescriptor,
            CoreKind::PermissionDenied => ErrorKind::PermissionDenied,
            CoreKind::Unsupported => ErrorKind::Unsupported,
            CoreKind::NotDirect => ErrorKind::NotDirect,
            CoreKind::Busy => ErrorKind::Busy,
            CoreKind::NoMemory => ErrorKind::NoMemory,
            CoreKind::QuotaExceeded => ErrorKind::QuotaExceeded,
            CoreKind::NoSpace => ErrorKind::NoSpace,
            CoreKind::TimedOut => ErrorKind::TimedOut,
            CoreKind::Cancelled => ErrorKind::Cancelled,
            CoreKind::Io => ErrorKind::Io,
        };
        Self { errno: error.errno(), ..Self::new(kind, error) }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Failed(error) => error.into(),
            ClientError::Unreachable(_) => Self::new(ErrorKind::Unreachable, error),
            ClientError::Died(_) => Self::new(ErrorKind::Died, error),
        }
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        let kind = match error {
            ModelError::Client(error) => return error.into(),
            ModelError::Malformed { .. } => ErrorKind::Malformed,
            ModelError::Read { .. } | ModelError::Shortened { .. } => ErrorKind::Io,
            ModelError::NoSuchTensor(_) => ErrorKind::NotFound,
            ModelError::Layout(_) => ErrorKind::InvalidRequest,
        };
        Self::new(kind, error)
    }
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        let kind = match error {
            SnapshotError::Client(error) => return error.into(),
            SnapshotError::Malformed { .. } => ErrorKind::Malformed,
            SnapshotError::Read { .. } => ErrorKind::Io,
            SnapshotError::Picture { .. } => ErrorKind::InvalidRequest,
            SnapshotError::NotFound { .. } => ErrorKind::NotFound,
            SnapshotError::TooLarge { .. } => ErrorKind::NoSpace,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_and_text_of_the_kernel_are_kept() {
        let error = Error::from(CoreError::from_errno("open \"a\"", Errno::NOENT));
        assert_eq!((error.kind, error.errno), (ErrorKind::Io, Some(Errno::NOENT)));
        let text = error.message.to_str().expect("text");
        assert!(text.starts_with("open \"a\": No such file"), "{text}");
    }

    #[test]
    fn text_with_a_zero_byte_is_whole() {
        assert_eq!(Error::invalid("a\0b").message.to_str(), Ok("a\\0b"));
    }
}

//! The error type of the client library.

use binder_shim::{describe, st, Status};
use dmabufio_core::error::{Error as CoreError, ErrorKind};
use dmabufio_wire::status::from_status;
use rustix::fs::{openat, Mode, OFlags, CWD};
use rustix::io::Errno;
use std::io;

/// A failure of a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request failed, here or in the service.
    #[error(transparent)]
    Failed(#[from] CoreError),
    /// The client cannot reach the service.
    #[error("cannot reach the service: {0}")]
    Unreachable(String),
    /// The service died before it answered, and the client cannot make the request again by itself.
    /// A transfer may have moved some of its bytes, all, or none. Making the request again is safe.
    /// Buffers stay valid.
    #[error("{0}")]
    Died(String),
}

impl Error {
    /// The kind of the failure; `None` if there is no answer of the service.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(error) => Some(error.kind()),
            Self::Unreachable(_) | Self::Died(_) => None,
        }
    }
}

/// What the kernel reported through the standard library.
pub(crate) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// The error of a failed connection to the service `name`.
pub(crate) fn not_found(name: &str, status: &Status) -> Error {
    let why = match status.transaction_error() {
        st::NAME_NOT_FOUND => "no such service",
        st::PERMISSION_DENIED => "this process may not use binder, or not this service",
        _ => "cannot connect",
    };
    lack_of_descriptors(1)
        .unwrap_or_else(|| Error::Unreachable(format!("{name}: {why} ({})", describe(status))))
}

/// The error of a failed call that would have returned `descriptors`.
pub(crate) fn of_call(status: &Status, descriptors: usize) -> Error {
    if let Some(error) = from_status(status) {
        return error.into();
    }
    let why = match status.transaction_error() {
        st::UNKNOWN_TRANSACTION => {
            let what = "the service does not know this call; it is older than this client";
            return CoreError::new(ErrorKind::Unsupported, what).into();
        }
        st::DEAD_OBJECT => "it has died",
        st::PERMISSION_DENIED => "this process may not call it",
        _ => "the call failed",
    };
    lack_of_descriptors(descriptors)
        .unwrap_or_else(|| Error::Unreachable(format!("{why} ({})", describe(status))))
}

/// The error that this process cannot have `count` more descriptors, if this is true. Binder does
/// not report why it cannot receive a descriptor.
fn lack_of_descriptors(count: usize) -> Option<Error> {
    let open = || openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened: Result<Vec<_>, Errno> = (0..count).map(|_| open()).collect();
    match opened {
        Err(errno @ (Errno::MFILE | Errno::NFILE)) => {
            let what = format!("have {count} more descriptors in this process");
            Some(CoreError::from_errno(what, errno).into())
        }
        _ => None,
    }
}

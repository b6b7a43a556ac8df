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
    /// The client cannot reach the service, or the service ended.
    #[error("cannot reach the service: {0}")]
    Unreachable(String),
}

impl Error {
    /// The kind of the failure; `None` if the request did not reach the service.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(error) => Some(error.kind()),
            Self::Unreachable(_) => None,
        }
    }
}

/// What the kernel reported through the standard library.
pub(crate) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Why the service was not found by `name`.
pub(crate) fn not_found(name: &str, status: &Status) -> Error {
    let why = match status.transaction_error() {
        st::NAME_NOT_FOUND => "no such service is registered",
        st::PERMISSION_DENIED => "this process may not use binder, or not this service",
        _ => "not found",
    };
    lack_of_descriptors(1)
        .unwrap_or_else(|| Error::Unreachable(format!("{name}: {why} ({})", describe(status))))
}

/// Why a call failed that was to return `descriptors`.
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

/// The error that this process cannot have `count` more descriptors, if that is so. Binder does not
/// say why a descriptor cannot be received.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_service_is_unreachable_by_its_name() {
        let error = not_found("here", &st::NAME_NOT_FOUND.into());
        assert_eq!(error.kind(), None);
        let text = error.to_string();
        let start = "cannot reach the service: here: no such service is registered (";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn service_that_died_is_unreachable() {
        let error = of_call(&st::DEAD_OBJECT.into(), 1);
        assert_eq!(error.kind(), None);
        assert!(
            error.to_string().starts_with("cannot reach the service: it has died ("),
            "{error}"
        );
    }

    #[test]
    fn call_that_the_service_does_not_know_is_unsupported() {
        let error = of_call(&st::UNKNOWN_TRANSACTION.into(), 0);
        assert_eq!(error.kind(), Some(ErrorKind::Unsupported));
        let text = "the service does not know this call; it is older than this client";
        assert_eq!(error.to_string(), text);
    }
}

//! The error type of the client library.

use dmabufio_core::error::{Error as CoreError, ErrorKind};

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

//! Why a call of the client library failed.

use dmabufio_core::error::{Error as CoreError, ErrorKind};

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request failed, here or in the service.
    #[error(transparent)]
    Failed(#[from] CoreError),
    /// The service cannot be reached, or went away.
    #[error("cannot reach the service: {0}")]
    Unreachable(String),
}

impl Error {
    /// What kind of failure it is; `None` if the request did not get to the service.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(error) => Some(error.kind()),
            Self::Unreachable(_) => None,
        }
    }
}

//! How far the life of a ring is.

use dmabufio_core::error::{Error, ErrorKind, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// The client has finished a stream that writes.
    Finishing,
    Ended(Result<()>),
}

impl Phase {
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// # Errors
    /// `InvalidRequest` if the stream was finished; the error that ended it.
    pub fn check_open(&self) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::Ended(Err(error)) => Err(error.clone()),
            Self::Finishing | Self::Ended(Ok(())) => {
                Err(Error::new(ErrorKind::InvalidRequest, "the stream was finished"))
            }
        }
    }
}

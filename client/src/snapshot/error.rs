//! The errors of snapshots.

use super::task::{TaskId, Variant};
use crate::error::Error;
use dmabufio_core::error::Error as CoreError;
use std::io;
use std::path::{Path, PathBuf};

/// A failure to save or to restore a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file contradicts the format, itself or its size.
    #[error("{file:?}: {field} at offset {offset}: {problem}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// Where in the file it begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A read failed.
    #[error("{file:?}: read {field} at offset {offset}: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// Where in the file it begins, in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The caller asked to save a picture that cannot be.
    #[error("the picture's {field}: {problem}")]
    Picture {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The store has no such snapshot.
    #[error("{task} has no {variant} snapshot")]
    NotFound {
        /// The task.
        task: TaskId,
        /// Which of its snapshots.
        variant: Variant,
    },
    /// A snapshot alone is larger than the store may be.
    #[error("{needed} bytes are more than the store may have, {limit}")]
    TooLarge {
        /// The bytes of its files.
        needed: u64,
        /// The size cap of the store.
        limit: u64,
    },
    /// A call of the client, or of the kernel on the store's folder, failed.
    #[error(transparent)]
    Client(#[from] Error),
}

impl From<CoreError> for SnapshotError {
    fn from(error: CoreError) -> Self {
        Self::Client(error.into())
    }
}

/// What is wrong with a field. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file ends before it.
    #[error("needs {needed} bytes, and {available} are left in the file")]
    Truncated {
        /// What the field needs.
        needed: u64,
        /// What is left.
        available: u64,
    },
    /// Bytes behind the last field.
    #[error("{0} bytes behind it belong to nothing")]
    Trailing(u64),
    /// A number is below its limit.
    #[error("{value} is less than {limit}")]
    TooSmall {
        /// The number.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A value is not the one that other fields require.
    #[error("is {found}, and has to be {expected}")]
    Mismatch {
        /// What it has to be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A value is not one of the allowed ones.
    #[error("{found} is not {allowed}")]
    NotAllowed {
        /// The value.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The data is not what was saved.
    #[error("has the CRC-32C {found:08x}, and {expected:08x} was saved")]
    Checksum {
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the data.
        found: u32,
    },
}

/// An error of the parser, which does not know the name of its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub field: &'static str,
    pub offset: u64,
    pub problem: Problem,
}

impl Fault {
    /// The error, in the file that is called `name`.
    pub fn within(self, name: &Path) -> SnapshotError {
        let Self { field, offset, problem } = self;
        SnapshotError::Malformed { file: name.to_owned(), field, offset, problem }
    }
}

//! The errors of models.

use crate::error::Error;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// A failure to read, plan or load a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A header contradicts the format, itself or the size of its file.
    #[error("{file:?}: {field} at offset {offset}: {problem}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The field, as `tensors["NAME"].shape`.
        field: String,
        /// Where in the file the field, or the data that it describes, begins, in bytes. In text
        /// (JSON): where the parser stopped.
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
        field: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// No tensor has this name, or matches this pattern.
    #[error("no tensor matches {0:?}")]
    NoSuchTensor(String),
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Layout(String),
    /// A file became shorter between its parsing and its loading.
    #[error(
        "{file:?}: {moved} bytes were loaded instead of {planned}: the file has become shorter"
    )]
    Shortened {
        /// The file.
        file: PathBuf,
        /// Bytes to load.
        planned: u64,
        /// Bytes that there were.
        moved: u64,
    },
    /// A call of the client failed.
    #[error(transparent)]
    Client(#[from] Error),
}

/// What is wrong with a field. Sizes and offsets are in bytes.
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
    /// A number is above its limit.
    #[error("{value} is more than {limit}")]
    TooLarge {
        /// The number.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A product or a sum does not fit in 64 bits.
    #[error("the size overflows 64 bits")]
    Overflow,
    /// A value is not the one that the rest of the file requires.
    #[error("is {found}, and has to be {expected}")]
    Mismatch {
        /// What it has to be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A number is not one of the allowed ones.
    #[error("{found} is not {allowed}")]
    NotAllowed {
        /// The value.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The dimensions do not make whole blocks.
    #[error("{elements} elements do not fill blocks of {block}")]
    PartOfBlock {
        /// The elements.
        elements: u64,
        /// Elements in a block.
        block: u64,
    },
    /// Two tensors share bytes, or are not in order.
    #[error("begins at {begin}, before the end of {before:?} at {end}")]
    Overlap {
        /// Where it begins, counted from the start of the data.
        begin: u64,
        /// The tensor before it.
        before: String,
        /// Where that one ends.
        end: u64,
    },
    /// Bytes belong to no tensor.
    #[error("{0} bytes before it belong to no tensor")]
    Gap(u64),
    /// Bytes behind the last tensor.
    #[error("{0} bytes behind the last tensor belong to no tensor")]
    Trailing(u64),
    /// The name, or the key, occurs twice.
    #[error("occurs more than once")]
    Duplicate,
    /// Another file or field mentions it, and it does not exist.
    #[error("is missing")]
    Missing,
    /// The text is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
    /// The JSON is not what the format allows.
    #[error("{0}")]
    Json(String),
}

/// An error of a parser, which does not know the name of its file.
#[derive(Debug)]
pub(super) struct Fault {
    field: String,
    offset: u64,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Malformed(Problem),
    Read(io::Error),
}

pub(super) type FaultResult<T> = Result<T, Fault>;

impl Fault {
    pub fn new(field: &dyn Display, offset: u64, problem: Problem) -> Self {
        Self { field: field.to_string(), offset, cause: Cause::Malformed(problem) }
    }

    pub fn read(field: &dyn Display, offset: u64, error: io::Error) -> Self {
        Self { field: field.to_string(), offset, cause: Cause::Read(error) }
    }

    pub fn tensor(name: &str, offset: u64, problem: Problem) -> Self {
        Self::new(&format_args!("tensors[{name:?}]"), offset, problem)
    }

    /// The error, in the file that is called `name`.
    pub fn within(self, name: &Path) -> ModelError {
        let (file, field, offset) = (name.to_owned(), self.field, self.offset);
        match self.cause {
            Cause::Malformed(problem) => ModelError::Malformed { file, field, offset, problem },
            Cause::Read(source) => ModelError::Read { file, field, offset, source },
        }
    }
}

//! What a model consists of.

use super::dtype::Dtype;
use std::fmt::{self, Display, Formatter};

/// The format of a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// safetensors, one file or several.
    Safetensors,
    /// GGUF, version 2 or 3, one file or several.
    Gguf,
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "GGUF",
        })
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The name, which is unique in the model. Any text: escape it before a terminal shows it.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the outermost first. GGUF stores them the other way round.
    pub shape: Vec<u64>,
    /// Which of the parts of its model it is in.
    pub part: usize,
    /// Where its data begins in that file, in bytes.
    pub offset: u64,
    /// Length of its data in bytes.
    pub len: u64,
}

impl Tensor {
    /// One past its last byte in the file.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

//! The files of a model.

use super::error::{Fault, ModelError, Problem};
use crate::chunks::{Chunks, Opened};
use crate::open::open_regular;
use rustix::fs::OFlags;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A file of a model, or the range of another file that holds one, as in an APK.
#[derive(Debug)]
pub struct Part {
    name: PathBuf,
    file: File,
    opened: Opened,
    range: Range<u64>,
}

impl Part {
    /// The regular file at `path`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = open_regular(path, OFlags::empty())?;
        let part = Self { name: path.to_owned(), file, opened: Opened::Here, range: 0..0 };
        let len = part.file_len()?;
        Ok(Self { range: 0..len, ..part })
    }

    /// The bytes of `range` in `file`, which errors call `name`. The position and the flags of the
    /// descriptor stay as they are. It must not have `O_DIRECT`, which cannot read a header.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if the file ends before the range does.
    pub fn new(name: &Path, file: File, range: Range<u64>) -> Result<Self, ModelError> {
        let part = Self { name: name.to_owned(), file, opened: Opened::Elsewhere, range };
        let available = part.file_len()?.saturating_sub(part.range.start);
        let needed = part.range.end.saturating_sub(part.range.start);
        if needed > available || part.range.end < part.range.start {
            let problem = Problem::Truncated { needed, available };
            return Err(Fault::new(&"the model", part.range.start, problem).within(name));
        }
        Ok(part)
    }

    fn file_len(&self) -> Result<u64, ModelError> {
        let metadata = self.file.metadata();
        let len =
            metadata.map_err(|error| Fault::read(&"the size", 0, error).within(&self.name))?.len();
        Ok(len)
    }

    /// The file, to read its header.
    pub(super) fn chunks(&self) -> Chunks<'_> {
        Chunks::new(&self.file, self.opened)
    }

    /// The name.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file the model is, in bytes.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl AsFd for Part {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

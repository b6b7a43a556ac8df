//! Ranges of a transfer, and the checks that need no descriptor.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::uapi;
use std::fmt::{self, Display, Formatter};

/// The largest number of extents in one request. Keeps a request in a small parcel.
///
/// See docs/design/0002-predict-do-prove.md#2048-extents-need-more-than-64-kib
pub const MAX_EXTENTS: usize = 2048;

/// One contiguous range: its place in the file and its place in the buffer. All fields are in
/// bytes. An empty extent is legal and moves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file.
    pub file_offset: u64,
    /// Offset in the buffer.
    pub buffer_offset: u64,
    /// Length.
    pub len: u64,
}

impl Extent {
    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One past the last byte in the file.
    pub fn file_end(&self) -> u64 {
        self.file_offset.saturating_add(self.len)
    }

    /// One past the last byte in the buffer.
    pub fn buffer_end(&self) -> u64 {
        self.buffer_offset.saturating_add(self.len)
    }
}

impl Display for Extent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { file_offset, buffer_offset, len } = self;
        write!(f, "file_offset={file_offset} buffer_offset={buffer_offset} length={len}")
    }
}

/// The direction in which a transfer moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the file into the buffer.
    Load,
    /// From the buffer into the file.
    Save,
}

impl Direction {
    /// Its operation of `DMA_BUF_IOCTL_RW_FILE`.
    pub(crate) fn rw_flag(self) -> u32 {
        match self {
            Self::Load => uapi::DMA_BUF_RW_FLAGS_READ,
            Self::Save => uapi::DMA_BUF_RW_FLAGS_WRITE,
        }
    }
}

/// Checks the number of extents, and that every end fits into a signed 64-bit offset of the kernel.
pub fn check_shape(extents: &[Extent]) -> Result<()> {
    if extents.is_empty() || extents.len() > MAX_EXTENTS {
        let n = extents.len();
        return Err(invalid(format!("extents: {n} given, 1 to {MAX_EXTENTS} allowed")));
    }
    for (i, extent) in extents.iter().enumerate() {
        for end in [extent.file_end(), extent.buffer_end()] {
            if i64::try_from(end).is_err() {
                return Err(invalid(format!("extent {i}: {extent}: the end overflows 63 bits")));
            }
        }
    }
    Ok(())
}

/// Checks that every extent lies in a buffer of `buffer_size` bytes and that no two overlap in the
/// destination: in the buffer for a load, in the file for a save.
pub fn check_placement(extents: &[Extent], buffer_size: u64, direction: Direction) -> Result<()> {
    for (i, extent) in extents.iter().enumerate() {
        if extent.buffer_end() > buffer_size {
            return Err(invalid(format!(
                "extent {i}: {extent}: ends beyond the buffer of {buffer_size} bytes"
            )));
        }
    }
    let target = |i: usize| match direction {
        Direction::Load => (extents[i].buffer_offset, extents[i].buffer_end()),
        Direction::Save => (extents[i].file_offset, extents[i].file_end()),
    };
    let mut order: Vec<usize> = (0..extents.len()).filter(|&i| !extents[i].is_empty()).collect();
    order.sort_unstable_by_key(|&i| target(i));
    for pair in order.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if target(b).0 < target(a).1 {
            let place = match direction {
                Direction::Load => "buffer",
                Direction::Save => "file",
            };
            let (first, second) = (a.min(b), a.max(b));
            return Err(invalid(format!(
                "extent {second}: {}: overlaps extent {first} in the {place}",
                extents[second]
            )));
        }
    }
    Ok(())
}

/// Sorts extents by file offset, and joins extents that continue each other in file and buffer.
/// Omits empty extents. Each result has the indices of the joined extents and the run that they
/// form.
pub fn merge(extents: &[Extent]) -> Vec<(Vec<usize>, Extent)> {
    let mut order: Vec<usize> = (0..extents.len()).filter(|&i| !extents[i].is_empty()).collect();
    order.sort_by_key(|&i| extents[i].file_offset);
    let mut runs: Vec<(Vec<usize>, Extent)> = Vec::with_capacity(extents.len());
    for i in order {
        let next = extents[i];
        match runs.last_mut() {
            Some((members, whole))
                if whole.file_end() == next.file_offset
                    && whole.buffer_end() == next.buffer_offset =>
            {
                members.push(i);
                whole.len += next.len;
            }
            _ => runs.push((vec![i], next)),
        }
    }
    runs
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

#[cfg(test)]
mod tests;

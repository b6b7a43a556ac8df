//! Moves bytes with `DMA_BUF_IOCTL_RW_FILE`: the kernel reads or writes the file, with the
//! buffer's pages as the memory.
//!
//! The ioctl returns no count. A save that returns 0 has written everything. A load has read up to
//! the end of the file, so the size of the file after the call bounds the count.

use super::job::Job;
use super::piece::Piece;
use crate::error::{During, Result};
use crate::extent::Direction;
use crate::sys::{ioctl, uapi};

/// Bypasses the page cache. The piece has the alignment that the file needs, at least whole pages.
pub(super) fn direct(job: Job<'_>) -> Result<u64> {
    run(job, uapi::DMA_BUF_RW_FLAGS_DIRECT)
}

/// Goes through the page cache, at any alignment.
pub(super) fn buffered(job: Job<'_>) -> Result<u64> {
    run(job, 0)
}

fn run(job: Job<'_>, flags: u32) -> Result<u64> {
    let Job { buffer, file, direction, piece, .. } = job;
    let operation = match direction {
        Direction::Load => uapi::DMA_BUF_RW_FLAGS_READ,
        Direction::Save => uapi::DMA_BUF_RW_FLAGS_WRITE,
    };
    let request = uapi::dma_buf_rw_file {
        flags: operation | flags,
        file_offset: piece.file_offset,
        buf_offset: piece.buffer_offset,
        buf_len: piece.len,
        ..Default::default()
    };
    ioctl::dma_buf_rw_file(buffer.fd(), Some(file.fd()), request).during(|| {
        let Piece { file_offset, buffer_offset, len } = piece;
        let how = if flags == 0 { "buffered" } else { "direct" };
        format!(
            "DMA_BUF_IOCTL_RW_FILE {direction:?} {how}: \
             file_offset={file_offset} buffer_offset={buffer_offset} length={len}"
        )
    })?;
    match direction {
        Direction::Load => {
            Ok(piece.len.min(file.current_size()?.saturating_sub(piece.file_offset)))
        }
        Direction::Save => Ok(piece.len),
    }
}

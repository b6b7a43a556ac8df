//! Moves bytes with `DMA_BUF_IOCTL_RW_FILE`: the kernel reads or writes the file, with the
//! buffer's pages as the memory.
//!
//! The ioctl returns no count. A save that returns 0 has written everything; a load has read
//! everything up to the end of the file, so the size of the file after the call bounds what moved.

use super::Piece;
use crate::dmabuf::DmaBuf;
use crate::error::{During, Result};
use crate::extent::Direction;
use crate::file::RegularFile;
use crate::sys::{ioctl, uapi};
use rustix::fd::AsRawFd;

/// Past the page cache. The piece is aligned as the file needs it and at least to pages.
pub(super) fn direct(
    buffer: &DmaBuf<'_>,
    file: &RegularFile<'_>,
    direction: Direction,
    piece: Piece,
) -> Result<u64> {
    run(buffer, file, direction, piece, uapi::DMA_BUF_RW_FLAGS_DIRECT)
}

/// Through the page cache, at any alignment.
pub(super) fn buffered(
    buffer: &DmaBuf<'_>,
    file: &RegularFile<'_>,
    direction: Direction,
    piece: Piece,
) -> Result<u64> {
    run(buffer, file, direction, piece, 0)
}

fn run(
    buffer: &DmaBuf<'_>,
    file: &RegularFile<'_>,
    direction: Direction,
    piece: Piece,
    flags: u32,
) -> Result<u64> {
    let operation = match direction {
        Direction::Load => uapi::DMA_BUF_RW_FLAGS_READ,
        Direction::Save => uapi::DMA_BUF_RW_FLAGS_WRITE,
    };
    let request = uapi::dma_buf_rw_file {
        flags: operation | flags,
        fd: file.fd().as_raw_fd(),
        file_offset: piece.file_offset,
        buf_offset: piece.buffer_offset,
        buf_len: piece.len,
    };
    ioctl::dma_buf_rw_file(buffer.fd(), request).during(|| {
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

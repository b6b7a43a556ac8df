//! Moves bytes with `DMA_BUF_IOCTL_RW_FILE` or `DMA_BUF_IOCTL_RW_EXTENTS`: the kernel reads or
//! writes the file, with the buffer's pages as the memory.
//!
//! The first one returns no count. A save that returns 0 has written everything. A load has read up
//! to the end of the file, so the size of the file after the call bounds the count.

use super::job::Job;
use super::piece::Piece;
use super::request::Request;
use crate::error::{During, Result};
use crate::extent::Direction;
use crate::sys::{ioctl, uapi};
use std::slice;

/// The most pieces that one call of [`extents`] moves.
pub(super) const MAX_EXTENTS: usize = uapi::DMA_BUF_RW_EXTENTS_MAX as usize;

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
    let Piece { file_offset, buffer_offset, len } = piece;
    let how = if flags == 0 { "buffered" } else { "direct" };
    let place = || {
        format!(
            "{direction:?} {how}: file_offset={file_offset} buffer_offset={buffer_offset} \
             length={len}"
        )
    };
    let flags = flags | direction.rw_flag();
    if job.extents {
        let mut extent = extent(&piece);
        let flags = flags | uapi::DMA_BUF_RW_FLAGS_ATTACHED;
        let one = slice::from_mut(&mut extent);
        let moved = ioctl::dma_buf_rw_extents(buffer.fd(), Some(file.fd()), flags, one);
        moved.during(|| format!("DMA_BUF_IOCTL_RW_EXTENTS {}", place()))?;
        return Ok(extent.done);
    }
    let request = uapi::dma_buf_rw_file {
        flags,
        file_offset,
        buf_offset: buffer_offset,
        buf_len: len,
        ..Default::default()
    };
    ioctl::dma_buf_rw_file(buffer.fd(), Some(file.fd()), request)
        .during(|| format!("DMA_BUF_IOCTL_RW_FILE {}", place()))?;
    match direction {
        Direction::Load => Ok(len.min(file.current_size()?.saturating_sub(file_offset))),
        Direction::Save => Ok(len),
    }
}

/// Moves at most [`MAX_EXTENTS`] pieces with one call that bypasses the page cache. Returns how many
/// bytes of each have moved, and whether the call succeeded.
pub(super) fn extents(request: &Request<'_>, pieces: &[Piece]) -> (Vec<u64>, bool) {
    let mut extents: Vec<_> = pieces.iter().map(extent).collect();
    let flags = request.direction.rw_flag()
        | uapi::DMA_BUF_RW_FLAGS_DIRECT
        | uapi::DMA_BUF_RW_FLAGS_ATTACHED;
    let (buffer, file) = (request.buffer.fd(), request.file.fd());
    let moved = ioctl::dma_buf_rw_extents(buffer, Some(file), flags, &mut extents);
    (extents.iter().map(|extent| extent.done).collect(), moved.is_ok())
}

fn extent(piece: &Piece) -> uapi::dma_buf_rw_extent {
    uapi::dma_buf_rw_extent {
        file_offset: piece.file_offset,
        buf_offset: piece.buffer_offset,
        len: piece.len,
        done: 0,
    }
}

//! The part that one call moves.

use std::ops::Range;

/// The longest piece that one system call moves, in bytes. The kernel has the same limit
/// (`DMA_BUF_FILE_IO_CHUNK`).
pub const MAX_PIECE: u64 = 64 << 20;

/// The same on a file that may stall: the end of a piece is the only sign of progress.
pub const MAX_STALLING_PIECE: u64 = 64 << 10;

/// A range that one call moves: at most [`MAX_PIECE`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Piece {
    /// Bytes from the start of the file.
    pub file_offset: u64,
    /// Bytes from the start of the buffer.
    pub buffer_offset: u64,
    /// Bytes to move.
    pub len: u64,
}

impl Piece {
    /// What is left of it once `done` bytes of it have moved.
    pub fn after(self, done: u64) -> Self {
        Self {
            file_offset: self.file_offset + done,
            buffer_offset: self.buffer_offset + done,
            len: self.len - done,
        }
    }

    /// The bytes of the file.
    pub fn in_file(self) -> Range<u64> {
        self.file_offset..self.file_offset + self.len
    }
}

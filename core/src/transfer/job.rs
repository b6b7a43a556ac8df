//! The order to a method.

use super::piece::Piece;
use crate::buffer::Buffer;
use crate::extent::Direction;
use crate::file::RegularFile;

/// A piece to move, with its buffer and file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub buffer: &'a Buffer<'a>,
    pub file: &'a RegularFile<'a>,
    pub direction: Direction,
    pub piece: Piece,
    /// As [`crate::route::Route::extents`].
    pub extents: bool,
    /// As [`crate::route::Route::uncached`].
    pub uncached: bool,
}

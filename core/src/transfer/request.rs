//! What a transfer is asked for.

use crate::buffer::Buffer;
use crate::extent::{Direction, Extent};
use crate::file::RegularFile;
use crate::method::Mode;

/// What must have reached stable storage when a save returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing.
    #[default]
    None,
    /// The data: `fdatasync(2)`.
    Data,
    /// The data and all metadata: `fsync(2)`.
    Full,
}

/// What to move.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The buffer.
    pub buffer: &'a Buffer<'a>,
    /// The file.
    pub file: &'a RegularFile<'a>,
    /// The ranges, moved in the order of the file.
    pub extents: &'a [Extent],
    /// Which way.
    pub direction: Direction,
    /// How much must bypass the page cache.
    pub mode: Mode,
    /// What must be on stable storage on return. [`Durability::None`] for a load.
    pub durability: Durability,
}

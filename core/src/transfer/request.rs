//! The request of a transfer.

use crate::buffer::Buffer;
use crate::extent::{Direction, Extent};
use crate::file::RegularFile;
use crate::method::Mode;

/// The data that must be on stable storage when a save returns.
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

/// The operands and options of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The buffer.
    pub buffer: &'a Buffer<'a>,
    /// The file.
    pub file: &'a RegularFile<'a>,
    /// The ranges, moved in the order of the file.
    pub extents: &'a [Extent],
    /// The direction.
    pub direction: Direction,
    /// Controls whether the transfer bypasses the page cache.
    pub mode: Mode,
    /// The data that must be on stable storage on return. [`Durability::None`] for a load.
    pub durability: Durability,
}

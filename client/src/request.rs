//! The requests of a client.

use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::load::Item;
use dmabufio_core::method::Mode;
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::Durability;
use std::os::fd::BorrowedFd;

/// A transfer between a buffer and a file.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// The buffer, from any allocator.
    pub buffer: BorrowedFd<'a>,
    /// The file. A transfer does not change its position or flags.
    pub file: BorrowedFd<'a>,
    /// The ranges to move.
    pub extents: &'a [Extent],
    /// The direction.
    pub direction: Direction,
    /// Controls whether the transfer bypasses the page cache.
    pub mode: Mode,
    /// Who waits for it: the I/O priority.
    pub priority: Priority,
    /// The data that must be on stable storage on return; for saves.
    pub durability: Durability,
    /// A name for the request in the service's logs and dumps: printable ASCII, at most 31 bytes.
    pub tag: &'a str,
}

impl<'a> Transfer<'a> {
    /// A transfer by the best path, at normal priority, without a promise about durability, and
    /// without a name.
    pub fn new(
        buffer: BorrowedFd<'a>,
        file: BorrowedFd<'a>,
        extents: &'a [Extent],
        direction: Direction,
    ) -> Self {
        let (mode, priority, durability) = (Mode::Auto, Priority::Normal, Durability::None);
        Self { buffer, file, extents, direction, mode, priority, durability, tag: "" }
    }
}

/// Buffers to allocate and to fill from a file.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The file. A load does not change its position or flags.
    pub file: BorrowedFd<'a>,
    /// The buffers, filled in this order.
    pub items: &'a [Item],
    /// Controls whether the load bypasses the page cache.
    pub mode: Mode,
    /// Who waits for it: the I/O priority.
    pub priority: Priority,
    /// The purpose of the buffers in the statistics of the kernel: printable ASCII.
    pub tag: &'a str,
}

impl<'a> Load<'a> {
    /// A load by the best path, at normal priority, of buffers without a name.
    pub fn new(file: BorrowedFd<'a>, items: &'a [Item]) -> Self {
        Self { file, items, mode: Mode::Auto, priority: Priority::Normal, tag: "" }
    }
}

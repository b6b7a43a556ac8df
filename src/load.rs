//! Allocates several buffers and fills them from one file, allocating the next buffer while the one
//! before is filled: zeroing memory is work for the CPU, reading is work for the disk.

use crate::error::{Error, ErrorKind, Result};
use crate::extent::{check_placement, check_shape, Direction, Extent, MAX_EXTENTS};
use crate::file::RegularFile;
use crate::heap::{Allocation, Allocator};
use crate::method::Mode;
use crate::transfer::receipt::Receipt;
use crate::transfer::{transfer, Durability, Request};
use rustix::fd::OwnedFd;
use std::sync::mpsc::sync_channel;
use std::thread;

/// The most buffers in one load.
pub const MAX_BATCH: usize = 32;

/// How many allocated buffers may wait to be filled. One is enough to keep the disk busy as long as
/// buffers are alike.
const AHEAD: usize = 1;

/// One buffer to allocate and fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Size of the buffer in bytes.
    pub size: u64,
    /// What to fill it with.
    pub extents: Vec<Extent>,
}

/// A filled buffer.
#[derive(Debug)]
pub struct Loaded {
    /// The buffer.
    pub fd: OwnedFd,
    /// Its size in bytes, a multiple of the page size.
    pub size: u64,
    /// How it was filled.
    pub receipt: Receipt,
}

/// Where the buffers come from, and what they are called.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The heap.
    pub heap: &'a Allocator,
    /// Whom the buffers are for.
    pub uid: u32,
    /// What they are for.
    pub tag: &'a str,
}

/// Allocates and fills the buffers of `items`, in order. One result for each: a buffer that could
/// not be filled is freed, and the others are not affected.
///
/// # Errors
/// `InvalidRequest` or `BadDescriptor` if anything is malformed, before anything is allocated.
pub fn load(
    source: Source<'_>,
    file: &RegularFile<'_>,
    items: &[Item],
    mode: Mode,
) -> Result<Vec<Result<Loaded>>> {
    check(source.heap, items)?;
    file.check_access(Direction::Load)?;
    thread::scope(|scope| {
        let (sender, buffers) = sync_channel(AHEAD);
        // Not `scope.spawn`: it panics where a thread cannot be had.
        let allocating = thread::Builder::new().name("allocate".to_owned());
        let allocating = allocating.spawn_scoped(scope, move || {
            for item in items {
                let buffer = source.heap.allocate_named(item.size, source.uid, source.tag);
                // Nobody receives any more if the other side is gone, and then nobody cares.
                if sender.send(buffer).is_err() {
                    break;
                }
            }
        });
        allocating.map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("start a thread to allocate in: {error}"))
        })?;
        let results = items.iter().zip(buffers);
        Ok(results.map(|(item, buffer)| fill(buffer?, file, item, mode)).collect())
    })
}

fn check(heap: &Allocator, items: &[Item]) -> Result<()> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidRequest, what);
    let n = items.len();
    if n == 0 || n > MAX_BATCH {
        return Err(invalid(format!("items: {n} given, 1 to {MAX_BATCH} allowed")));
    }
    let extents: usize = items.iter().map(|item| item.extents.len()).sum();
    if extents > MAX_EXTENTS {
        return Err(invalid(format!("extents: {extents} given, at most {MAX_EXTENTS} allowed")));
    }
    for (i, item) in items.iter().enumerate() {
        let checked = heap
            .check_size(item.size)
            .and_then(|()| check_shape(&item.extents))
            .and_then(|()| check_placement(&item.extents, item.size, Direction::Load));
        checked.map_err(|error| error.in_item(i))?;
    }
    Ok(())
}

fn fill(allocation: Allocation, file: &RegularFile<'_>, item: &Item, mode: Mode) -> Result<Loaded> {
    let receipt = transfer(&Request {
        buffer: &allocation.buffer()?,
        file,
        extents: &item.extents,
        direction: Direction::Load,
        mode,
        durability: Durability::None,
    })?;
    let Allocation { fd, size, .. } = allocation;
    Ok(Loaded { fd, size, receipt })
}

//! Allocates several buffers and fills them from one file. It allocates the next buffer while it
//! fills the one before: where the kernel zeroes memory that is to be loaded, the CPU does so while
//! the disk reads.

use crate::error::{Error, ErrorKind, Result};
use crate::extent::{check_placement, check_shape, Direction, Extent, MAX_EXTENTS};
use crate::file::RegularFile;
use crate::heap::{Allocation, Allocator};
use crate::method::Mode;
use crate::pool::Pool;
use crate::transfer::receipt::Receipt;
use crate::transfer::turns::Turns;
use crate::transfer::{transfer_in_turns, Durability, Request};
use rustix::fd::OwnedFd;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

/// The most buffers in one load.
pub const MAX_BATCH: usize = 32;

/// The number of allocated buffers that may wait for their data. One keeps the disk busy if the
/// buffers have similar sizes.
const AHEAD: usize = 1;

/// One buffer to allocate and fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Size of the buffer in bytes.
    pub size: u64,
    /// The ranges to load.
    pub extents: Vec<Extent>,
}

/// A filled buffer.
#[derive(Debug)]
pub struct Loaded {
    /// The buffer.
    pub fd: OwnedFd,
    /// Its size in bytes, a multiple of the page size.
    pub size: u64,
    /// The receipt for filling it.
    pub receipt: Receipt,
}

/// The source of the buffers, and their names.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The heap.
    pub heap: &'a Allocator,
    /// The pool to take buffers from as long as it has some.
    pub pool: Option<&'a Pool>,
    /// The user of the buffers.
    pub uid: u32,
    /// The purpose of the buffers.
    pub tag: &'a str,
    /// The arrival of the request, for the receipts.
    pub arrival: Instant,
    /// Called with each buffer before it is filled.
    pub allocated: &'a (dyn Fn(&Allocation) + Sync),
}

impl Source<'_> {
    /// A buffer of the pool, or a new one.
    pub fn allocate(&self, size: u64) -> Result<Allocation> {
        self.take(size).unwrap_or_else(|| self.own(self.heap.allocate(size)))
    }

    /// The same for a buffer that is to be loaded next.
    pub fn allocate_to_fill(&self, size: u64) -> Result<Allocation> {
        self.take(size).unwrap_or_else(|| self.make(size))
    }

    /// A buffer of the pool, if it has one.
    fn take(&self, size: u64) -> Option<Result<Allocation>> {
        let named = self.pool?.take(size)?.named(self.uid, self.tag);
        Some(named.inspect(self.allocated))
    }

    /// A new buffer, to be loaded next.
    fn make(&self, size: u64) -> Result<Allocation> {
        self.own(self.heap.allocate_to_fill(size))
    }

    fn own(&self, new: Result<Allocation>) -> Result<Allocation> {
        new?.named(self.uid, self.tag).inspect(self.allocated)
    }
}

/// Allocates and fills the buffers of `items`, in order, and passes each result to `deliver` at
/// once. Frees a buffer if filling it failed, and goes on with the next one. Asks `turns` as
/// [`transfer_in_turns`] does.
///
/// # Errors
/// `InvalidRequest` or `BadDescriptor` if anything is malformed, before the first allocation; and
/// the error of `turns` between two buffers, after which `deliver` gets no more results.
pub fn load(
    source: Source<'_>,
    file: &RegularFile<'_>,
    items: &[Item],
    mode: Mode,
    turns: &mut dyn Turns,
    deliver: &mut dyn FnMut(Result<Loaded>),
) -> Result<()> {
    check(source.heap, items)?;
    file.check_access(Direction::Load)?;
    if file.may_stall() {
        // One buffer at a time: a daemon that does not answer holds no more than that.
        for item in items {
            turns.next(0, 0)?;
            let buffer = source.allocate_to_fill(item.size);
            deliver(
                buffer.and_then(|buffer| fill(buffer, source.arrival, file, item, mode, turns)),
            );
        }
        return Ok(());
    }
    let ready: Vec<_> = items.iter().map(|item| source.take(item.size)).collect();
    let missing = items.iter().zip(&ready).filter(|(_, ready)| ready.is_none());
    let missing: Vec<u64> = missing.map(|(item, _)| item.size).collect();
    thread::scope(|scope| {
        let (sender, allocated) = sync_channel(AHEAD);
        if !missing.is_empty() {
            // Not `scope.spawn`, which panics if the system has no thread left.
            let allocating = thread::Builder::new().name("allocate".to_owned());
            let allocating = allocating.spawn_scoped(scope, move || {
                for size in missing {
                    let buffer = source.make(size);
                    // If the receiver is gone, nobody needs the buffer.
                    if sender.send(buffer).is_err() {
                        break;
                    }
                }
            });
            allocating.map_err(|error| {
                Error::new(ErrorKind::NoMemory, format!("start a thread to allocate in: {error}"))
            })?;
        }
        let mut allocated = allocated.into_iter();
        let buffers = ready.into_iter().map_while(|ready| ready.or_else(|| allocated.next()));
        for (item, buffer) in items.iter().zip(buffers) {
            turns.next(0, 0)?;
            deliver(
                buffer.and_then(|buffer| fill(buffer, source.arrival, file, item, mode, turns)),
            );
        }
        Ok(())
    })
}

/// Makes all checks of `items` that need no file.
pub fn check(heap: &Allocator, items: &[Item]) -> Result<()> {
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

fn fill(
    allocation: Allocation,
    arrival: Instant,
    file: &RegularFile<'_>,
    item: &Item,
    mode: Mode,
    turns: &mut dyn Turns,
) -> Result<Loaded> {
    let request = Request {
        buffer: &allocation.buffer(),
        file,
        extents: &item.extents,
        direction: Direction::Load,
        mode,
        durability: Durability::None,
    };
    let queue = arrival.elapsed();
    let mut receipt = transfer_in_turns(&request, turns)?;
    receipt.queue += queue;
    let Allocation { fd, size, .. } = allocation;
    Ok(Loaded { fd, size, receipt })
}

//! Finds out which methods work: it asks the kernel and ignores its version. Does no I/O on any
//! file.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::extent::{check_shape, Direction, Extent};
use crate::file::RegularFile;
use crate::heap::{Allocation, Allocator, Heap};
use crate::method::{Mode, Support};
use crate::route::Route;
use crate::support;
use crate::transfer::plan::{ExtentPlan, Plan};
use rustix::fd::AsFd;

/// The abilities of the buffers of `heap` in a transfer, in any process.
pub fn heap(heap: &Allocator) -> Result<Support> {
    let Allocation { fd, heap, .. } = heap.allocate(heap.page_size())?;
    support::of(&Buffer::new(fd.as_fd(), heap)?, Direction::Load)
}

/// The abilities of the buffers of `heap` in a load, in the process that allocates them.
pub fn heap_in_load(heap: &Allocator) -> Result<Support> {
    support::of(&heap.allocate(heap.page_size())?.buffer(), Direction::Load)
}

/// The abilities of `buffer` as long as no device is attached to it.
pub fn buffer(buffer: &Buffer<'_>, direction: Direction) -> Result<Support> {
    support::of(buffer, direction)
}

/// The best heap of this machine: the system heap where `DMA_BUF_IOCTL_RW_FILE` works on its buffers,
/// else [`Heap::SystemDirect`] where it is there, else the system heap.
pub fn best_heap() -> Heap {
    let has = |kind: Heap| Allocator::open(kind).and_then(|opened| heap(&opened));
    match has(Heap::System) {
        Ok(Support { rw_file: Ok(()), .. }) => Heap::System,
        _ if has(Heap::SystemDirect).is_ok_and(|support| support.page_backed) => Heap::SystemDirect,
        _ => Heap::System,
    }
}

/// Predicts how a transfer between `file` and a buffer with `support` will move each extent, as
/// long as neither changes.
pub fn plan(
    file: &RegularFile<'_>,
    extents: &[Extent],
    direction: Direction,
    mode: Mode,
    support: Support,
) -> Result<Vec<ExtentPlan>> {
    check_shape(extents)?;
    file.check_access(direction)?;
    let route = Route::choose(support, file, mode)?;
    Ok(Plan::new(extents, file, direction, mode, route)?.predict())
}

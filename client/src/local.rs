//! The back end that does the work in this process, without the service.

use crate::buffer::{Buffer, Filled};
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::request::{Load, Transfer};
use dmabufio_core::buffer::Buffer as CoreBuffer;
use dmabufio_core::error::Result as CoreResult;
use dmabufio_core::extent::{Extent, MAX_EXTENTS};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::{Allocation, Allocator, Heap};
use dmabufio_core::load::{self, Loaded};
use dmabufio_core::method::{Mode, Support};
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::turns::Unlimited;
use dmabufio_core::transfer::{transfer, Request};
use std::fs::metadata;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// The core in this process, and the abilities of its heap.
pub(crate) struct Local {
    heap: Allocator,
    support: Support,
    support_in_load: Support,
}

impl Local {
    pub fn new(heap: Heap) -> Result<Self, Error> {
        let heap = Allocator::open(heap)?;
        let support = probe::heap(&heap)?;
        let support_in_load = probe::heap_in_load(&heap)?;
        Ok(Self { heap, support, support_in_load })
    }

    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            heap: self.heap.heap(),
            methods: self.support.methods().collect(),
            load_methods: self.support_in_load.methods().collect(),
            page_size: self.heap.page_size(),
            max_buffer_bytes: self.heap.max_bytes(),
            max_extents: MAX_EXTENTS,
        }
    }

    pub fn allocate(&self, size: u64, tag: &str) -> Result<Buffer, Error> {
        let Allocation { fd, size, .. } = self.heap.allocate_named(size, own_uid(), tag)?;
        Ok(Buffer::new(fd, size, self.heap.heap()))
    }

    pub fn probe(
        &self,
        file: BorrowedFd<'_>,
        extents: &[Extent],
    ) -> Result<Vec<ExtentPlan>, Error> {
        let file = RegularFile::new(file, self.heap.heap())?;
        let direction = file.natural_direction();
        Ok(probe::plan(&file, extents, direction, Mode::Auto, self.support)?)
    }

    pub fn transfer(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        let Transfer { extents, direction, mode, priority, durability, .. } = *request;
        let buffer = &CoreBuffer::new(request.buffer, self.heap.heap())?;
        let file = &RegularFile::new(request.file, self.heap.heap())?;
        let _priority = PriorityGuard::new(priority);
        Ok(transfer(&Request { buffer, file, extents, direction, mode, durability })?)
    }

    pub fn load(&self, request: &Load<'_>) -> Result<Vec<Result<Filled, Error>>, Error> {
        let Load { items, mode, priority, tag, .. } = *request;
        let heap = &self.heap;
        let file = RegularFile::new(request.file, heap.heap())?;
        let (uid, arrival, allocated) = (own_uid(), Instant::now(), &|_: &Allocation| ());
        let source = load::Source { heap, pool: None, uid, tag, arrival, allocated };
        let filled = |loaded: Loaded| Filled {
            buffer: Buffer::new(loaded.fd, loaded.size, heap.heap()),
            receipt: loaded.receipt,
        };
        let mut results = Vec::with_capacity(items.len());
        let mut deliver = |result: CoreResult<Loaded>| {
            results.push(result.map(filled).map_err(Error::from));
        };
        let _priority = PriorityGuard::new(priority);
        load::load(source, &file, items, mode, &mut Unlimited, &mut deliver)?;
        Ok(results)
    }
}

/// The user of this process, who is the user of its buffers.
fn own_uid() -> u32 {
    metadata("/proc/self").map_or(0, |process| process.uid())
}

//! The binder service: the AIDL interface on top of the core.
//!
//! Each AIDL method is a shell of a few lines around a method that speaks the core's types.
//! Everything that a caller passes is hostile until `convert` and the core's constructors have
//! checked it. The only module, with those below it, that names a binder type.

mod convert;
mod dump;
mod gate;
mod lane;
mod priority;
mod statistics;
mod status;

use crate::dmabuf::DmaBuf;
use crate::error::{Error, ErrorKind, Result};
use crate::extent::MAX_EXTENTS;
use crate::file::{may_stall, RegularFile};
use crate::heap::{Allocation, Allocator};
use crate::load::{self, MAX_BATCH};
use crate::method::{Mode, Support};
use crate::probe;
use crate::transfer::receipt::Receipt as CoreReceipt;
use crate::transfer::{transfer, Request};
use binder_shim::{borrow, caller, new_binder, pfd, BinderResult, ParcelFileDescriptor, Strong};
use convert::{CheckedLoad, CheckedRequest};
use gate::Gate;
use lane::{InLane, Lane};
use priority::PriorityGuard;
use rustix::fd::BorrowedFd;
use statistics::Statistics;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::Digest::Digest;
use aidl::Extent::Extent;
use aidl::IDmabufIo::{BnDmabufIo, IDmabufIo};
use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::Plan::Plan;
use aidl::Receipt::Receipt;
use aidl::TransferRequest::TransferRequest;

/// The name that the service registers under.
pub const INSTANCE: &str = "vendor.dmabufio.IDmabufIo/default";

const _: () = assert!(aidl::IDmabufIo::MAX_EXTENTS as usize == MAX_EXTENTS);
const _: () = assert!(aidl::IDmabufIo::MAX_BATCH as usize == MAX_BATCH);

/// The service's state. Clones share it.
#[derive(Debug, Clone)]
pub struct DmabufIo {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    heap: Allocator,
    support: Support,
    gate: Gate,
    lane: Lane,
    statistics: Statistics,
}

impl DmabufIo {
    /// Makes the service for `heap`, and finds out what its buffers can do.
    pub fn new(heap: Allocator) -> Result<Self> {
        let support = probe::heap(&heap)?;
        let (gate, lane, statistics) = Default::default();
        Ok(Self { state: Arc::new(State { heap, support, gate, lane, statistics }) })
    }

    /// Wraps the service for binder.
    pub fn into_binder(self) -> Strong<dyn IDmabufIo> {
        new_binder!(BnDmabufIo, self)
    }

    /// What the buffers of the service's heap can do.
    pub fn support(&self) -> Support {
        self.state.support
    }

    /// Refuses new requests and waits until the running ones are done, but no longer than
    /// `patience`. Says whether they are.
    pub fn drain(&self, patience: Duration) -> bool {
        self.state.gate.close(patience)
    }

    fn capabilities(&self) -> Capabilities {
        let State { heap, support, .. } = &*self.state;
        Capabilities {
            heap: convert::heap(heap.heap()),
            methods: support.methods().map(convert::method).collect(),
            digests: vec![Digest::NONE],
            pageSize: convert::bytes(heap.page_size()),
            maxBufferBytes: convert::bytes(heap.max_bytes()),
            maxExtents: aidl::IDmabufIo::MAX_EXTENTS,
        }
    }

    fn allocate(&self, desc: &BufferDesc) -> Result<Buffer> {
        let _running = self.state.gate.enter()?;
        let heap = &self.state.heap;
        let size = u64::try_from(desc.size).map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("size={}: negative", desc.size))
        })?;
        convert::check_tag(&desc.tag)?;
        let Allocation { fd, size, .. } = heap.allocate_named(size, caller().uid, &desc.tag)?;
        // From here the reply owns the descriptor.
        Ok(Buffer {
            fd: Some(pfd(fd)),
            size: convert::bytes(size),
            heap: convert::heap(heap.heap()),
        })
    }

    /// Checks a client's file. The request is in the lane for as long as the second value lives, if
    /// it is there: before the first call that a daemon could leave unanswered.
    fn file<'a>(&'a self, fd: BorrowedFd<'a>) -> Result<(RegularFile<'a>, Option<InLane<'a>>)> {
        let State { heap, lane, .. } = &*self.state;
        let in_lane = may_stall(fd)?.then(|| lane.enter(caller().uid)).transpose()?;
        let file = RegularFile::new(fd, heap.heap())?;
        let in_lane = in_lane.filter(|_| file.stalls());
        Ok((file, in_lane))
    }

    fn probe(&self, file: &ParcelFileDescriptor, extents: &[Extent]) -> Result<Plan> {
        let _running = self.state.gate.enter()?;
        let extents = convert::extents(extents)?;
        let (file, _in_lane) = self.file(borrow(file))?;
        let direction = file.natural_direction();
        file.check_access(direction)?;
        let plan = probe::plan(&file, &extents, direction, Mode::Auto, self.state.support)?;
        Ok(Plan { extents: plan.into_iter().map(convert::extent_plan).collect() })
    }

    fn transfer(&self, request: &TransferRequest) -> Result<CoreReceipt> {
        let arrival = Instant::now();
        let _running = self.state.gate.enter()?;
        let checked = CheckedRequest::new(request)?;
        let heap = self.state.heap.heap();
        let buffer = DmaBuf::new(checked.buffer, heap)?;
        let (file, _in_lane) = self.file(checked.file)?;
        let _priority = PriorityGuard::new(checked.priority);
        let mut receipt = transfer(&Request {
            buffer: &buffer,
            file: &file,
            extents: &checked.extents,
            direction: checked.direction,
            mode: checked.mode,
            durability: checked.durability,
        })?;
        receipt.queue = arrival.elapsed().saturating_sub(receipt.io + receipt.sync);
        let tag = &request.tag;
        log::debug!("transfer uid={} tag={tag}: {receipt:?}", caller().uid);
        self.state.statistics.count_transfer(&receipt);
        Ok(receipt)
    }

    fn load(&self, request: &LoadRequest) -> Result<LoadResult> {
        let _running = self.state.gate.enter()?;
        let checked = CheckedLoad::new(request)?;
        let heap = &self.state.heap;
        let (file, _in_lane) = self.file(checked.file)?;
        let uid = caller().uid;
        let _priority = PriorityGuard::new(checked.priority);
        let source = load::Source { heap, uid, tag: &request.tag };
        let results = load::load(source, &file, &checked.items, checked.mode)?;
        log::debug!("load uid={uid} tag={}: {} items", request.tag, results.len());
        let mut items = Vec::with_capacity(results.len());
        for result in results {
            match &result {
                Ok(loaded) => self.state.statistics.count_transfer(&loaded.receipt),
                Err(error) => self.state.statistics.count_error("load", uid, error),
            }
            items.push(match result {
                Ok(loaded) => convert::loaded_item(loaded, heap.heap()),
                Err(error) => status::failed_item(&error),
            });
        }
        Ok(LoadResult { items })
    }

    /// Turns a failure into a status, once it is logged and counted.
    fn reply<T>(&self, call: &str, result: Result<T>) -> BinderResult<T> {
        result.map_err(|error| {
            let uid = caller().uid;
            // Callers cause most failures, and may cause many.
            log::debug!("{call} uid={uid}: {error}");
            self.state.statistics.count_error(call, uid, &error);
            status::from(&error)
        })
    }
}

impl IDmabufIo for DmabufIo {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        Ok(self.capabilities())
    }

    fn allocate(&self, desc: &BufferDesc) -> BinderResult<Buffer> {
        self.reply("allocate", self.allocate(desc))
    }

    fn probe(&self, file: &ParcelFileDescriptor, extents: &[Extent]) -> BinderResult<Plan> {
        self.reply("probe", self.probe(file, extents))
    }

    fn transfer(&self, request: &TransferRequest) -> BinderResult<Receipt> {
        // A missing descriptor has an exception of its own, like any null in AIDL.
        status::check_not_null("buffer", &request.buffer)?;
        status::check_not_null("file", &request.file)?;
        self.reply("transfer", self.transfer(request).map(convert::receipt))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        status::check_not_null("file", &request.file)?;
        self.reply("load", self.load(request))
    }
}

binder_shim::impl_interface!(DmabufIo);

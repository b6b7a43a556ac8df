//! The binder service: the AIDL interface on top of the core.
//!
//! Each AIDL method is a shell of a few lines around a method that speaks the core's types.
//! Everything that a caller passes is hostile until `convert` and the core's constructors have
//! checked it.

mod convert;
mod dump;
mod gate;
mod lane;
mod statistics;

use binder_shim::{
    borrow, caller, new_binder, BinderResult, Lifetime, ParcelFileDescriptor, Strong,
};
use convert::{CheckedLoad, CheckedRequest};
use dmabufio_core::dmabuf::DmaBuf;
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent as CoreExtent, MAX_EXTENTS};
use dmabufio_core::file::{may_stall, RegularFile};
use dmabufio_core::heap::{Allocation, Allocator, Heap};
use dmabufio_core::load::{self, Loaded, Source, MAX_BATCH};
use dmabufio_core::method::{Mode, Support};
use dmabufio_core::pool::{pressure, Pool, IDLE};
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt as CoreReceipt;
use dmabufio_core::transfer::{transfer_with_progress, Request};
use dmabufio_wire::{aidl, extent_plan_to_aidl, extents_from_aidl, receipt_to_aidl, status, Wire};
use gate::Gate;
use lane::{Lane, Progress};
use rustix::fd::{AsFd, BorrowedFd};
use statistics::Statistics;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

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
    pool: Option<Pool>,
    lifetime: Lifetime,
    support: Support,
    support_in_load: Support,
    gate: Gate,
    lane: Lane,
    statistics: Statistics,
}

impl State {
    /// Whether requests run, other than those that wait for file systems that may stall.
    fn is_busy(&self) -> bool {
        self.gate.running() > self.lane.occupancy().0
    }
}

impl DmabufIo {
    /// Makes the service for `heap`, and finds out what its buffers can do. Buffers come from
    /// `pool` where it has them; [`DmabufIo::keep_pool`] fills it. What outlives a request, and
    /// buffers in the pool, hold on to the process as `lifetime` says.
    pub fn new(heap: Allocator, pool: Option<Pool>, lifetime: Lifetime) -> Result<Self> {
        let support = probe::heap(&heap)?;
        let support_in_load = probe::heap_in_load(&heap)?;
        let state = State {
            heap,
            pool,
            lifetime,
            support,
            support_in_load,
            gate: Gate::default(),
            lane: Lane::new(lifetime),
            statistics: Statistics::default(),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// Starts the threads that keep the pool, if there is one, for as long as the process lives.
    pub fn keep_pool(&self) -> Result<()> {
        let start = |name: &str, work: fn(&State, &Pool)| {
            let state = Arc::clone(&self.state);
            let run = move || {
                if let Some(pool) = &state.pool {
                    work(&state, pool);
                }
            };
            let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map(drop).map_err(|error| {
                Error::new(ErrorKind::NoMemory, format!("pool: start a thread: {error}"))
            })
        };
        if self.state.pool.is_some() {
            start("pool", |state, pool| {
                pool.keep(&state.heap, IDLE, || state.is_busy(), || state.lifetime.hold())
            })?;
            start("pressure", |_, pool| {
                let end = pressure::system().and_then(|trigger| pool.empty_on(trigger.as_fd()));
                if let Err(error) = end {
                    log::warn!("pool: emptied by idleness only: {error}");
                }
            })?;
        }
        Ok(())
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
        let State { heap, support, support_in_load, .. } = &*self.state;
        Capabilities {
            heap: heap.heap().to_aidl(),
            methods: support.methods().map(|method| Some(method).to_aidl()).collect(),
            loadMethods: support_in_load.methods().map(|method| Some(method).to_aidl()).collect(),
            digests: vec![Digest::NONE],
            pageSize: convert::size_of_memory(heap.page_size()),
            maxBufferBytes: convert::size_of_memory(heap.max_bytes()),
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
        let Allocation { fd, size, .. } = self.source(caller().uid, &desc.tag).allocate(size)?;
        Ok(convert::buffer(fd, size, heap.heap()))
    }

    fn probe(&self, file: &ParcelFileDescriptor, extents: &[Extent]) -> Result<Plan> {
        let _running = self.state.gate.enter()?;
        let State { heap, lane, support, .. } = &*self.state;
        let (heap, support) = (heap.heap(), *support);
        let (file, extents) = (borrow(file), extents_from_aidl(extents)?);
        let plan = if self.is_stalling(file)? {
            let file = convert::duplicate("file", file)?;
            lane.run(caller().uid, move |_| predict(file.as_fd(), heap, &extents, support))?
        } else {
            predict(file, heap, &extents, support)?
        };
        Ok(Plan { extents: plan.into_iter().map(extent_plan_to_aidl).collect() })
    }

    fn transfer(&self, request: &TransferRequest) -> Result<CoreReceipt> {
        let arrival = Instant::now();
        let _running = self.state.gate.enter()?;
        let checked = CheckedRequest::new(request)?;
        let heap = self.state.heap.heap();
        let uid = caller().uid;
        let mut receipt = if self.is_stalling(checked.file)? {
            let checked = checked.into_owned()?;
            let work = move |progress: &Progress<'_>| {
                run_transfer(&checked, heap, &mut || progress.made())
            };
            self.state.lane.run(uid, work)?
        } else {
            run_transfer(&checked, heap, &mut || Ok(()))?
        };
        receipt.queue = arrival.elapsed().saturating_sub(receipt.io + receipt.sync);
        let tag = &request.tag;
        log::debug!("transfer uid={uid} tag={tag}: {receipt:?}");
        self.state.statistics.count_transfer(&receipt);
        Ok(receipt)
    }

    fn load(&self, request: &LoadRequest) -> Result<LoadResult> {
        let _running = self.state.gate.enter()?;
        let checked = CheckedLoad::new(request)?;
        let heap = &self.state.heap;
        let uid = caller().uid;
        let results = if self.is_stalling(checked.file)? {
            self.load_in_lane(checked, uid, &request.tag)?
        } else {
            let file = RegularFile::new(checked.file, heap.heap())?;
            let _priority = PriorityGuard::new(checked.priority);
            load::load(self.source(uid, &request.tag), &file, &checked.items, checked.mode)?
        };
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

    /// A load whose file may stall: buffer by buffer, so that no more than one is held by a thread
    /// that waits for its daemon, and so that those before it are the client's.
    fn load_in_lane(
        &self,
        checked: CheckedLoad<'_>,
        uid: u32,
        tag: &str,
    ) -> Result<Vec<Result<Loaded>>> {
        let CheckedLoad { file, items, mode, priority } = checked;
        load::check(&self.state.heap, &items)?;
        let file = convert::duplicate("file", file)?;
        let count = items.len();
        let (service, tag) = (self.clone(), tag.to_owned());
        let (sender, receiver) = channel();
        let end = self.state.lane.run(uid, move |progress| {
            let file = RegularFile::new(file.as_fd(), service.state.heap.heap())?;
            file.check_access(Direction::Load)?;
            let _priority = PriorityGuard::new(priority);
            for item in &items {
                let progress = &mut || progress.made();
                let source = service.source(uid, &tag);
                let result = load::load_one(source, &file, item, mode, progress);
                // Nobody receives any more once the request has timed out.
                if sender.send(result).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut results: Vec<_> = receiver.try_iter().collect();
        match end {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                results.resize_with(count, || Err(error.clone()));
                Ok(results)
            }
            end => end.map(|()| results),
        }
    }

    /// Whether a daemon that may not answer serves the file. Asked in the lane, because the daemon
    /// is who answers.
    fn is_stalling(&self, file: BorrowedFd<'_>) -> Result<bool> {
        if !may_stall(file)? {
            return Ok(false);
        }
        let (file, heap) = (convert::duplicate("file", file)?, self.state.heap.heap());
        let ask = move |_: &Progress<'_>| Ok(RegularFile::new(file.as_fd(), heap)?.stalls());
        self.state.lane.run(caller().uid, ask)
    }

    /// Where the buffers of a request come from.
    fn source<'a>(&'a self, uid: u32, tag: &'a str) -> Source<'a> {
        Source { heap: &self.state.heap, pool: self.state.pool.as_ref(), uid, tag }
    }

    /// Turns a failure into a status, once it is logged and counted.
    fn reply<T>(&self, call: &str, result: Result<T>) -> BinderResult<T> {
        result.map_err(|error| {
            let uid = caller().uid;
            // Callers cause most failures, and may cause many.
            log::debug!("{call} uid={uid}: {error}");
            self.state.statistics.count_error(call, uid, &error);
            status::to_status(&error)
        })
    }
}

fn predict(
    file: BorrowedFd<'_>,
    heap: Heap,
    extents: &[CoreExtent],
    support: Support,
) -> Result<Vec<ExtentPlan>> {
    let file = RegularFile::new(file, heap)?;
    let direction = file.natural_direction();
    file.check_access(direction)?;
    probe::plan(&file, extents, direction, Mode::Auto, support)
}

fn run_transfer<Fd: AsFd>(
    checked: &CheckedRequest<Fd>,
    heap: Heap,
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<CoreReceipt> {
    let request = Request {
        buffer: &DmaBuf::new(checked.buffer.as_fd(), heap)?,
        file: &RegularFile::new(checked.file.as_fd(), heap)?,
        extents: &checked.extents,
        direction: checked.direction,
        mode: checked.mode,
        durability: checked.durability,
    };
    let _priority = PriorityGuard::new(checked.priority);
    transfer_with_progress(&request, progress)
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
        self.reply("transfer", self.transfer(request).map(receipt_to_aidl))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        status::check_not_null("file", &request.file)?;
        self.reply("load", self.load(request))
    }
}

binder_shim::impl_interface!(DmabufIo);

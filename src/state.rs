//! The state that all requests share.

use crate::admission::Admission;
use crate::dump_writer::DumpWriter;
use crate::failure_log::FailureLog;
use crate::memory::{Memory, Reservation, Sum};
use crate::quota::Quota;
use crate::scheduler::Scheduler;
use crate::statistics::Statistics;
use binder_shim::Lifetime;
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::heap::Allocator;
use dmabufio_core::method::Support;
use dmabufio_core::pool::{pressure, Pool, IDLE};
use dmabufio_core::priority::Priority;
use dmabufio_core::probe;
use dmabufio_core::transfer::receipt::Receipt;
use rustix::fd::AsFd;
use std::result::Result as StdResult;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The service. Clones share its state.
#[derive(Debug, Clone)]
pub struct DmabufIo {
    pub(crate) state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// The start of the service.
    pub start: Instant,
    pub heap: Allocator,
    pub pool: Option<Pool>,
    pub lifetime: Lifetime,
    pub support: Support,
    pub support_in_load: Support,
    pub admission: Admission,
    pub scheduler: Scheduler,
    pub memory: Memory,
    pub statistics: Statistics,
    pub failure_log: FailureLog,
    pub dump_writer: DumpWriter,
}

impl State {
    /// Whether requests run, other than stalling ones.
    fn is_busy(&self) -> bool {
        let counts = self.admission.counts();
        counts.waiting > counts.stalling_waiting || self.scheduler.counts() != (0, 0)
    }

    /// Reserves memory for `buffers` buffers of `uid`, of `bytes` bytes in all. The pool frees its
    /// buffers before this fails because of the machine.
    ///
    /// # Errors
    /// `QuotaExceeded` or `NoMemory`.
    pub fn reserve(&self, uid: u32, buffers: usize, bytes: u64) -> Result<Reservation<'_>> {
        self.memory.reserve(uid, Sum { buffers, bytes }, || {
            if let Some(pool) = &self.pool {
                pool.trim();
            }
        })
    }

    /// Logs and counts a failure.
    pub fn count_failure(&self, call: &'static str, uid: u32, error: &Error) {
        self.failure_log.add(call, uid, error);
        self.statistics.count_error(call, uid, error);
    }

    /// Counts the end of a transfer. That of a cancelled one is no failure.
    pub fn count(
        &self,
        call: &'static str,
        uid: u32,
        priority: Priority,
        end: StdResult<&Receipt, &Error>,
    ) {
        match end {
            Ok(receipt) => self.statistics.count_transfer(priority, receipt),
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => self.count_failure(call, uid, error),
        }
    }
}

impl DmabufIo {
    /// Makes the service for `heap`, and probes the abilities of its buffers. Each user may have as
    /// much as `quota` says. Takes buffers from `pool` as long as it has some;
    /// [`DmabufIo::start_threads`] starts the thread that fills it. Work that outlives a request, and
    /// buffers in the pool, keep a process of this `lifetime`.
    pub fn new(
        heap: Allocator,
        pool: Option<Pool>,
        lifetime: Lifetime,
        quota: Quota,
    ) -> Result<Self> {
        let support = probe::heap(&heap)?;
        let support_in_load = probe::heap_in_load(&heap)?;
        let state = State {
            start: Instant::now(),
            heap,
            pool,
            lifetime,
            support,
            support_in_load,
            admission: Admission::new(lifetime, quota.clone()),
            scheduler: Scheduler::new(),
            memory: Memory::new(quota),
            statistics: Statistics::default(),
            failure_log: FailureLog::default(),
            dump_writer: DumpWriter::default(),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// Starts the threads that maintain the pool, if there is one, and the one that follows the life
    /// of buffers, if the kernel has no statistics of them. They run until the process ends.
    pub fn start_threads(&self) -> Result<()> {
        let start = |name: &str, work: fn(&State)| {
            let state = Arc::clone(&self.state);
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&state));
            thread.map(drop).map_err(|error| {
                Error::new(ErrorKind::NoMemory, format!("{name}: start a thread: {error}"))
            })
        };
        if self.state.memory.needs_watch() {
            start("buffers", |state| state.memory.watch())?;
        }
        if self.state.pool.is_some() {
            start("pool", |state| {
                let Some(pool) = &state.pool else { return };
                pool.keep(&state.heap, IDLE, || state.is_busy(), || state.lifetime.hold())
            })?;
            start("pressure", |state| {
                let Some(pool) = &state.pool else { return };
                let end = pressure::system().and_then(|trigger| pool.empty_on(trigger.as_fd()));
                if let Err(error) = end {
                    log::warn!("pool: emptied by idleness only: {error}");
                }
            })?;
        }
        Ok(())
    }

    /// The abilities of the buffers of the service's heap.
    pub fn support(&self) -> Support {
        self.state.support
    }

    /// Refuses new requests and waits until the running ones have ended, but no longer than
    /// `patience`. Returns whether they have.
    pub fn drain(&self, patience: Duration) -> bool {
        self.state.admission.close(patience)
    }
}

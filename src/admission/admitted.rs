//! A request that is in, and the signs of life of its work.

use crate::in_flight::{Flight, InFlight, Phase};
use dmabufio_core::error::Result;
use dmabufio_core::priority::Priority;
use dmabufio_core::trace;

/// A request that is in, for its work.
pub(crate) struct Admitted<'a> {
    /// Names the request in the log. Unique for as long as the process lives.
    pub id: u64,
    request: &'a InFlight,
    signal: &'a dyn Fn(Signal) -> Result<()>,
}

/// The request makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// So many bytes have moved since the last one.
    Progress(u64),
    /// It waits for others. That may take any time; another sign follows.
    Queued,
    /// The file lies on an ordinary file system.
    Settled,
}

impl Admitted<'_> {
    /// Reports progress: `moved` more bytes have moved.
    ///
    /// # Errors
    /// `TimedOut` or `Cancelled` if nobody waits for the request any more: its work must stop.
    pub fn progress(&self, moved: u64) -> Result<()> {
        self.request.moved(moved);
        (self.signal)(Signal::Progress(moved))
    }

    /// Reports that the request waits for others, until it makes progress again.
    ///
    /// # Errors
    /// As [`Admitted::progress`].
    pub fn queued(&self) -> Result<()> {
        self.request.enter(Phase::Queued);
        (self.signal)(Signal::Queued)
    }

    /// For the dump: a transfer of `total` bytes is about to begin.
    pub fn begin(&self, priority: Priority, total: u64) {
        self.request.begin(priority, total);
    }

    /// For the dump: what the request does.
    pub fn enter(&self, phase: Phase) {
        self.request.enter(phase);
    }

    /// Counts the request as ordinary from now on unless its file may stall.
    ///
    /// # Errors
    /// As [`Admitted::progress`].
    pub fn settle(&self, may_stall: bool) -> Result<()> {
        (self.signal)(if may_stall { Signal::Progress(0) } else { Signal::Settled })
    }
}

/// Does `work` for `request` on this thread, and marks both in the trace.
pub fn perform<T>(
    request: &InFlight,
    signal: &dyn Fn(Signal) -> Result<()>,
    work: impl FnOnce(&Admitted<'_>) -> T,
) -> T {
    let Flight { id, call, .. } = request.now();
    trace::set_request(id);
    let _span = trace::span(call);
    work(&Admitted { id, request, signal })
}

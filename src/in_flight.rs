//! A request that is in: what it is, and how far it has come, for the dump.

use dmabufio_core::priority::Priority;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Checks its file, allocates, makes a save durable, or waits for the client of its stream.
    Other,
    /// Waits for its turn at the disk.
    Queued,
    /// Moves bytes.
    Moving,
}

/// A request that is in. Its thread changes it.
#[derive(Debug)]
pub(crate) struct InFlight(Mutex<Flight>);

/// The state of [`InFlight`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    /// Unique for as long as the process lives.
    pub id: u64,
    /// The method of the interface, or `stream`.
    pub call: &'static str,
    pub uid: u32,
    pub arrival: Instant,
    /// `None` if it has none, or if it has not come to its I/O.
    pub priority: Option<Priority>,
    pub phase: Phase,
    pub moved: u64,
    /// Bytes of all extents so far.
    pub total: u64,
    /// It made no progress, and no call waits for it any more.
    pub abandoned: bool,
}

impl InFlight {
    pub fn new(id: u64, call: &'static str, uid: u32) -> Self {
        Self(Mutex::new(Flight {
            id,
            call,
            uid,
            arrival: Instant::now(),
            priority: None,
            phase: Phase::Other,
            moved: 0,
            total: 0,
            abandoned: false,
        }))
    }

    /// It is about to move `total` more bytes.
    pub fn begin(&self, priority: Priority, total: u64) {
        let mut flight = self.lock();
        flight.priority = Some(priority);
        flight.total = flight.total.saturating_add(total);
    }

    pub fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    pub fn moved(&self, bytes: u64) {
        let mut flight = self.lock();
        flight.moved = flight.moved.saturating_add(bytes);
    }

    pub fn abandon(&self) {
        self.lock().abandoned = true;
    }

    pub fn now(&self) -> Flight {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Flight> {
        // A panic ends the process.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

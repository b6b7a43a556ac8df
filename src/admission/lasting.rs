//! The places of batches and streams.

use super::admitted::{perform, Admitted, Signal};
use super::policy::{Class, Lasting};
use super::room::Room;
use crate::in_flight::InFlight;
use binder_shim::Hold;
use dmabufio_core::error::Result;
use std::sync::Arc;

/// The place of a batch or of a stream, until dropped.
#[derive(Debug)]
pub(crate) struct LastingPlace {
    pub(super) id: u64,
    pub(super) room: Arc<Room>,
    pub(super) uid: u32,
    pub(super) kind: Lasting,
    pub(super) class: Class,
    pub(super) request: Arc<InFlight>,
    // The client may hold the batch and not the service.
    pub(super) _hold: Hold,
}

impl LastingPlace {
    /// Does `work` on this thread for as long as `progress`, which is told how many bytes have
    /// moved, does not fail.
    pub fn run<T>(
        &self,
        progress: &dyn Fn(u64) -> Result<()>,
        work: impl FnOnce(&Admitted<'_>) -> T,
    ) -> T {
        let signal = |signal| match signal {
            Signal::Progress(moved) => progress(moved),
            // Other files of a batch may stall yet.
            Signal::Queued | Signal::Settled => progress(0),
        };
        perform(&self.request, &signal, work)
    }

    /// Counts it from now on as one whose file may stall.
    ///
    /// # Errors
    /// `Busy` if there are too many of these.
    pub fn stall(&mut self) -> Result<()> {
        self.room.lock().places.stall_lasting(self.uid)?;
        self.class = Class::Stalling;
        Ok(())
    }

    /// Its work has ended: it is in flight no more, although its client may hold it for long.
    pub fn end(&self) {
        self.room.lock().requests.remove(&self.id);
    }
}

impl Drop for LastingPlace {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        state.places.leave_lasting(self.uid, self.kind, self.class);
        // Its work may not have started.
        state.requests.remove(&self.id);
    }
}

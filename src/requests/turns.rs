//! A request between the core, which moves its pieces, and the scheduler.

use crate::admission::Admitted;
use crate::in_flight::Phase;
use crate::scheduler::Seat;
use crate::state::State;
use dmabufio_core::error::Result;
use dmabufio_core::file::RegularFile;
use dmabufio_core::priority::Priority;
use dmabufio_core::trace::{self, BytesInFlight};
use dmabufio_core::transfer::turns::Turns;

/// The turns of one request on one file.
pub(super) struct RequestTurns<'a> {
    admitted: &'a Admitted<'a>,
    /// `None` on a file that may stall: such requests are few, take short turns and must not hold
    /// up others.
    seat: Option<Seat<'a>>,
    in_flight: BytesInFlight,
}

impl<'a> RequestTurns<'a> {
    pub fn new(
        state: &'a State,
        uid: u32,
        class: Priority,
        file: &RegularFile<'_>,
        admitted: &'a Admitted<'a>,
    ) -> Self {
        let seat = (!file.may_stall()).then(|| state.scheduler.seat(uid, class));
        Self { admitted, seat, in_flight: BytesInFlight::default() }
    }
}

impl Turns for RequestTurns<'_> {
    fn next(&mut self, moved: u64, wanted: u64) -> Result<u64> {
        let Self { admitted, seat, in_flight } = self;
        let progress = admitted.progress(moved);
        let Some(seat) = seat else {
            admitted.enter(if wanted > 0 { Phase::Moving } else { Phase::Other });
            in_flight.set(wanted);
            return progress.map(|()| wanted);
        };
        if progress.is_err() || wanted == 0 {
            seat.release(moved);
            in_flight.set(0);
            admitted.enter(Phase::Other);
            return progress.map(|()| 0);
        }
        let queue = trace::span("queue");
        let bytes = seat.next(moved, wanted, &mut || {
            in_flight.set(0);
            admitted.queued()
        })?;
        drop(queue);
        admitted.progress(0)?;
        admitted.enter(Phase::Moving);
        in_flight.set(bytes);
        Ok(bytes)
    }
}

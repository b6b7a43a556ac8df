//! Shares the disk among requests, piece by piece.
//!
//! A request asks [`Seat::next`] before each piece, on its own thread, and waits there until
//! [`policy`] gives it a turn. There are no worker threads: a thread can hang in the kernel for as
//! long as a disk or the owner of a file likes, and workers would run out.
//! See docs/design/0003-turns.md.

mod policy;

use dmabufio_core::error::Result;
use dmabufio_core::priority::Priority;
use policy::{Pace, Schedule, Ticket};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a thread that waits sleeps at most before it looks at the time again.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);

/// Gives turns.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// The origin of the times in [`policy`].
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schedule: Schedule,
    tickets: u64,
    /// The threads of those who wait.
    sleepers: HashMap<Ticket, Thread>,
}

/// A request, as the scheduler knows it. Gives its turn back when dropped.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    scheduler: &'a Scheduler,
    uid: u32,
    class: Priority,
    pace: Pace,
    turn: Option<Ticket>,
}

impl Scheduler {
    pub fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }

    /// A request of `uid`, which has no turn.
    pub fn seat(&self, uid: u32, class: Priority) -> Seat<'_> {
        let pace = self.lock().schedule.pace();
        Seat { scheduler: self, uid, class, pace, turn: None }
    }

    /// Requests that wait for a turn, and that have one.
    pub fn counts(&self) -> (usize, usize) {
        self.lock().schedule.counts()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process, and the schedule is consistent at every point anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives the turns that there are.
    fn advance(&mut self, now: Duration) {
        for ticket in self.schedule.advance(now) {
            if let Some(thread) = self.sleepers.remove(&ticket) {
                thread.unpark();
            }
        }
    }
}

impl Seat<'_> {
    /// Ends the turn, in which `moved` bytes have moved, and waits for the next one. Returns how
    /// many of `wanted` bytes may move in it. Calls `before_wait` whenever it is about to wait, and
    /// gives up with its error.
    pub fn next(
        &mut self,
        moved: u64,
        wanted: u64,
        before_wait: &mut dyn FnMut() -> Result<()>,
    ) -> Result<u64> {
        let mut now = self.scheduler.now();
        // Between two turns the lock is held: others that come in between would go first.
        let mut state = self.scheduler.lock();
        self.end(&mut state, moved, now);
        let bytes = self.pace.turn(self.class, wanted);
        state.tickets += 1;
        let ticket = Ticket(state.tickets);
        state.schedule.wait(ticket, self.uid, self.class, bytes, now);
        state.sleepers.insert(ticket, thread::current());
        self.turn = Some(ticket);
        loop {
            state.advance(now);
            if !state.sleepers.contains_key(&ticket) {
                return Ok(bytes);
            }
            let event = state.schedule.next_event(now);
            drop(state);
            before_wait()?;
            let sleep = event.map_or(LONGEST_SLEEP, |event| event.saturating_sub(now));
            thread::park_timeout(sleep.min(LONGEST_SLEEP));
            now = self.scheduler.now();
            state = self.scheduler.lock();
        }
    }

    /// Gives the turn back, if there is one, in which `moved` bytes have moved.
    pub fn release(&mut self, moved: u64) {
        let now = self.scheduler.now();
        let mut state = self.scheduler.lock();
        self.end(&mut state, moved, now);
        state.advance(now);
    }

    fn end(&mut self, state: &mut State, moved: u64, now: Duration) {
        let Some(ticket) = self.turn.take() else { return };
        if state.sleepers.remove(&ticket).is_some() {
            state.schedule.leave(ticket);
        } else {
            state.schedule.end(ticket, moved, &mut self.pace, now);
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.release(0);
    }
}

#[cfg(test)]
mod tests;

//! The requests that are in, and their places.

use super::policy::{Class, Places};
use crate::in_flight::InFlight;
use crate::quota::Quota;
use binder_shim::Hold;
use dmabufio_core::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The requests that are in, and their limits.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
pub struct State {
    pub places: Places,
    /// By their ids.
    pub requests: BTreeMap<u64, Arc<InFlight>>,
    /// Binder threads that have not answered yet.
    pub calls: usize,
    closed: bool,
}

/// A call that has not been answered, until dropped.
pub struct Call<'a>(pub &'a Room);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
        self.0.left.notify_all();
    }
}

/// The state of a request in [`Places`], and its last sign of life.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    class: Class,
    abandoned: bool,
    /// It waits for others, which are given up one by one, if need be.
    queued: bool,
    sign: Instant,
}

/// What [`Room::abandon`] has found.
pub enum Verdict {
    /// The request is abandoned.
    Abandoned(Class),
    /// It may go on for so long before somebody looks again.
    Alive(Duration),
}

impl Standing {
    /// That of a request that begins now.
    pub fn new(class: Class) -> Self {
        Self { class, abandoned: false, queued: false, sign: Instant::now() }
    }
}

/// A request's place, until dropped.
pub struct Place {
    pub room: Arc<Room>,
    pub uid: u32,
    pub id: u64,
    pub request: Arc<InFlight>,
    pub standing: Arc<Mutex<Standing>>,
    // The thread may outlive the request, and a lazy service's last client.
    pub _hold: Hold,
}

impl Place {
    /// Notes a sign of life. The thread that waits for the request does not wake up for it: it looks
    /// when its patience is at an end. Returns whether it waits.
    pub fn sign(&self, queued: bool) -> bool {
        let mut standing = lock(&self.standing);
        (standing.queued, standing.sign) = (queued, Instant::now());
        !standing.abandoned
    }

    pub fn settle(&self) {
        let mut state = self.room.lock();
        let mut standing = lock(&self.standing);
        // An abandoned request keeps its class: it ends at its next progress.
        if standing.class == Class::Stalling && !standing.abandoned {
            standing.class = Class::Ordinary;
            state.places.settle(self.uid);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        let standing = *lock(&self.standing);
        state.places.leave(self.uid, standing.class, standing.abandoned);
        state.requests.remove(&self.id);
        // Under the lock, so that `abandon` knows that the place is gone.
        self.standing = Arc::new(Mutex::new(standing));
    }
}

impl Room {
    pub fn new(quota: Quota) -> Self {
        let places = Places::new(quota);
        let state = State { places, requests: BTreeMap::new(), calls: 0, closed: false };
        Self { state: Mutex::new(state), left: Condvar::new() }
    }

    /// Lets no more requests in, and waits until all calls have their answers, but no longer than
    /// `patience`. Returns whether they have.
    pub fn close(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.closed = true;
        let busy = |state: &mut State| state.calls > 0;
        let wait = self.left.wait_timeout_while(state, patience, busy);
        !wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Stops waiting for a request that has given no sign of life for as long as `patience` says.
    pub fn abandon(
        &self,
        uid: u32,
        standing: &Arc<Mutex<Standing>>,
        patience: impl Fn(Class) -> Duration,
    ) -> Verdict {
        let mut state = self.lock();
        // The place holds the other one, and is dropped under the same lock.
        let has_left = Arc::strong_count(standing) == 1;
        let mut standing = lock(standing);
        let (class, patience) = (standing.class, patience(standing.class));
        if has_left || standing.queued {
            return Verdict::Alive(patience);
        }
        let left = patience.saturating_sub(standing.sign.elapsed());
        if !left.is_zero() {
            return Verdict::Alive(left);
        }
        standing.abandoned = true;
        state.places.abandon(uid, class);
        Verdict::Abandoned(class)
    }

    /// The state, unless no more requests come in.
    pub fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Busy, "the service is stopping; look it up again"));
        }
        Ok(state)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process; besides, the counts are consistent at every point.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

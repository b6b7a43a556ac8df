//! Counts the requests that run, so that the service can end between requests.

use crate::error::{Error, ErrorKind, Result};
use binder_shim::{Hold, Lifetime};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lets requests in until it is closed.
#[derive(Debug)]
pub(super) struct Gate {
    lifetime: Lifetime,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

/// A request that runs, until dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    gate: &'a Gate,
    // The client may die and leave a lazy service without one. Linux counts a call that runs as a
    // reference too, but no interface of binder promises that.
    _hold: Hold,
}

impl Gate {
    /// A gate in a process with this lifetime, which every request that runs holds on to.
    pub fn new(lifetime: Lifetime) -> Self {
        Self { lifetime, state: Mutex::default(), idle: Condvar::new() }
    }

    /// Admits a request.
    pub fn enter(&self) -> Result<Running<'_>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Busy, "the service is stopping; look it up again"));
        }
        state.running += 1;
        drop(state);
        Ok(Running { gate: self, _hold: self.lifetime.hold() })
    }

    /// How many requests run.
    pub fn running(&self) -> usize {
        self.lock().running
    }

    /// Admits no more, and waits for the last to leave. Says whether it has left in time.
    pub fn close(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.closed = true;
        let wait = self.idle.wait_timeout_while(state, patience, |state| state.running > 0);
        !wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process, and the state is consistent at every point anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.gate.lock().running -= 1;
        self.gate.idle.notify_all();
    }
}

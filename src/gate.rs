//! Counts the requests that run, so that the service can end between requests.

use dmabufio_core::error::{Error, ErrorKind, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lets requests in until it is closed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
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
pub(crate) struct Running<'a>(&'a Gate);

impl Gate {
    /// Admits a request.
    pub fn enter(&self) -> Result<Running<'_>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Busy, "the service is stopping; look it up again"));
        }
        state.running += 1;
        Ok(Running(self))
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
        self.0.lock().running -= 1;
        self.0.idle.notify_all();
    }
}

//! A batch under way: how far it is, whether it is to end, and what became of it.

use crate::admission::{Admitted, LastingPlace};
use dmabufio_core::error::{During, Error, ErrorKind, Result};
use dmabufio_core::load::Loaded;
use dmabufio_core::sys::pipe::pipe;
use dmabufio_core::transfer::receipt::Receipt;
use rustix::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// What became of the requests of a batch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For each load, each of its buffers.
    pub loads: Vec<Vec<Result<Loaded>>>,
    pub transfers: Vec<Result<Receipt>>,
}

/// A batch. Its thread and the client's reference share it.
#[derive(Debug)]
pub(crate) struct Batch {
    place: LastingPlace,
    /// Bytes of all extents.
    total: u64,
    moved: AtomicU64,
    cancelled: AtomicBool,
    state: Mutex<State>,
    /// The end that clients poll.
    completion: OwnedFd,
}

#[derive(Debug)]
enum State {
    Running {
        thread: Option<Thread>,
        /// The other end of `completion`: closing it is what clients see. Nothing is ever written,
        /// so no client can make the service wait or read something that is not so.
        _end: OwnedFd,
    },
    Ended(Outcome),
}

impl Batch {
    /// One that has not started, of `total` bytes.
    pub fn new(place: LastingPlace, total: u64) -> Result<Self> {
        let (completion, _end) = pipe().during(|| "make a pipe for the end of the batch")?;
        Ok(Self {
            place,
            total,
            moved: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            state: Mutex::new(State::Running { thread: None, _end }),
            completion,
        })
    }

    /// Starts a thread that does `work`.
    pub fn start(
        self: &Arc<Self>,
        work: impl FnOnce(&Admitted<'_>) -> Outcome + Send + 'static,
    ) -> Result<()> {
        let batch = Arc::clone(self);
        let run = move || {
            if let State::Running { thread, .. } = &mut *batch.lock() {
                *thread = Some(thread::current());
            }
            let outcome = batch.place.run(&|moved| batch.progress(moved), work);
            batch.place.end();
            *batch.lock() = State::Ended(outcome);
        };
        let thread = thread::Builder::new().name("request".to_owned()).spawn(run);
        thread.map(drop).map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("start a thread for the batch: {error}"))
        })
    }

    /// Bytes that have moved, of how many, and whether the batch has ended.
    pub fn position(&self) -> (u64, u64, bool) {
        let ended = matches!(&*self.lock(), State::Ended(_));
        (self.moved.load(Ordering::Relaxed).min(self.total), self.total, ended)
    }

    /// Ends the batch after the piece in flight.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let State::Running { thread: Some(thread), .. } = &*self.lock() {
            // It may wait for its turn.
            thread.unpark();
        }
    }

    /// What `read` makes of the outcome.
    ///
    /// # Errors
    /// `Busy` if there is none yet.
    pub fn outcome<T>(&self, read: impl FnOnce(&Outcome) -> Result<T>) -> Result<T> {
        match &*self.lock() {
            State::Running { .. } => {
                Err(Error::new(ErrorKind::Busy, "the batch has not ended; wait for its completion"))
            }
            State::Ended(outcome) => read(outcome),
        }
    }

    /// The descriptor that clients poll.
    pub fn completion(&self) -> &OwnedFd {
        &self.completion
    }

    /// Counts what has moved.
    fn progress(&self, moved: u64) -> Result<()> {
        self.moved.fetch_add(moved, Ordering::Relaxed);
        match self.cancelled.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Cancelled, "the batch was cancelled")),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

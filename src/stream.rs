//! A stream under way: its ring, the thread that moves its frames, and what tells the client.

pub(crate) mod ring;

use crate::admission::{Admitted, LastingPlace};
use dmabufio_core::error::{During, Error, ErrorKind, Result};
use dmabufio_core::sys::clock::monotonic_nanos;
use dmabufio_core::sys::pipe::pipe;
use dmabufio_core::transfer::receipt::Receipt;
use ring::{Frame, Ring, Work};
use rustix::fd::OwnedFd;
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::io::write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};

/// A stream. Its thread and the client's reference share it.
#[derive(Debug)]
pub(crate) struct Stream {
    place: LastingPlace,
    dropped: AtomicBool,
    thread: OnceLock<Thread>,
    state: Mutex<State>,
    /// The end that clients poll.
    readiness: OwnedFd,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Those of all frames.
    receipt: Receipt,
    /// The other end of `readiness`, until the stream has ended. Clients have their end and can fill
    /// the pipe: a write must not wait, and only this process has the flag of this end.
    bell: Option<OwnedFd>,
}

/// What a stream does for its file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Move(Frame),
    Sync,
}

impl Stream {
    /// One that has not started.
    pub fn new(place: LastingPlace, ring: Ring) -> Result<Self> {
        let (readiness, bell) = pipe()
            .and_then(|(reader, writer)| {
                fcntl_setfl(&reader, OFlags::NONBLOCK)?;
                fcntl_setfl(&writer, OFlags::NONBLOCK)?;
                Ok((reader, writer))
            })
            .during(|| "make a pipe for the readiness of the stream")?;
        Ok(Self {
            place,
            dropped: AtomicBool::new(false),
            thread: OnceLock::new(),
            state: Mutex::new(State { ring, receipt: Receipt::default(), bell: Some(bell) }),
            readiness,
        })
    }

    /// Starts a thread that does `work`: the actions of [`Stream::next_action`]. When it returns, the
    /// stream has ended.
    pub fn start(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Admitted<'_>) + Send + 'static,
    ) -> Result<()> {
        let stream = Arc::clone(self);
        let run = move || {
            stream.place.run(&|_| stream.check_wanted(), |admitted| work(&stream, admitted));
            stream.lock().bell = None;
        };
        let thread = thread::Builder::new().name("stream".to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("start a thread for the stream: {error}"))
        })?;
        // Nobody else sets it.
        let _ = self.thread.set(thread.thread().clone());
        Ok(())
    }

    /// Ends the stream with an error before it has moved anything.
    pub fn fail(&self, error: Error) {
        self.lock().ring.fail(error);
    }

    /// Calls `act` with the ring. Wakes the thread, and the client if there is something for it.
    pub fn with_ring<T>(&self, act: impl FnOnce(&mut Ring) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.ring);
        state.ring_bell();
        drop(state);
        self.wake();
        result
    }

    /// The receipts of all frames, added.
    ///
    /// # Errors
    /// `Busy` if the stream has not ended; the error that ended it.
    pub fn result(&self) -> Result<Receipt> {
        let state = self.lock();
        state.ring.outcome().map(|()| state.receipt)
    }

    /// The descriptor that clients poll.
    pub fn readiness(&self) -> &OwnedFd {
        &self.readiness
    }

    /// Ends the stream after the piece in flight: nobody has it any more.
    pub fn end(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Waits for something to do. `None` if there will be nothing more.
    pub fn next_action(&self) -> Option<Action> {
        while !self.dropped.load(Ordering::SeqCst) {
            let mut state = self.lock();
            let work = state.ring.work();
            state.ring_bell();
            drop(state);
            match work {
                Work::Move(frame) => return Some(Action::Move(frame)),
                Work::Sync => return Some(Action::Sync),
                Work::Wait => thread::park(),
                Work::End => return None,
            }
        }
        None
    }

    /// Tells what became of an action.
    pub fn finish_action(&self, action: Action, result: Result<Receipt>) {
        let mut state = self.lock();
        match (action, result) {
            (_, Err(error)) => state.ring.fail(error),
            (Action::Move(_), Ok(receipt)) => {
                state.receipt.add(&receipt);
                state.ring.moved(receipt.bytes(), monotonic_nanos() as i64);
            }
            (Action::Sync, Ok(receipt)) => {
                state.receipt.add(&receipt);
                state.ring.synced();
            }
        }
        state.ring_bell();
    }

    /// Whether the frame in flight should go on.
    fn check_wanted(&self) -> Result<()> {
        match self.dropped.load(Ordering::SeqCst) || self.lock().ring.is_unwanted() {
            true => Err(Error::new(ErrorKind::Cancelled, "nobody wants this frame any more")),
            false => Ok(()),
        }
    }

    fn wake(&self) {
        // The thread may wait for something to do, or for its turn at the disk.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ring_bell(&mut self) {
        if self.ring.takes_bell() {
            if let Some(bell) = &self.bell {
                // If the pipe is full, the client sees that it is readable anyway.
                let _ = write(bell, &[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests;

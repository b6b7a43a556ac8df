//! A stream under way: its ring, the threads that move its frames, and what tells the client.

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
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// A stream. Its threads and the client's reference share it.
#[derive(Debug)]
pub(crate) struct Stream {
    place: LastingPlace,
    dropped: AtomicBool,
    state: Mutex<State>,
    /// The end that clients poll.
    readiness: OwnedFd,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Those that have begun.
    threads: Vec<Thread>,
    /// How many have not ended.
    running: usize,
    /// Those of all frames.
    receipt: Receipt,
    /// The other end of `readiness`, until the stream has ended. Clients have their end and can
    /// fill the pipe: a write must not wait, and only this process has the flag of this end.
    bell: Option<OwnedFd>,
}

/// What a stream does for its file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Move(Frame),
    Sync,
}

/// One of the threads of a stream.
pub(crate) struct Mover<'a> {
    stream: &'a Stream,
    /// The buffer of the frame that it moves.
    index: Cell<Option<usize>>,
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
            state: Mutex::new(State {
                ring,
                threads: Vec::new(),
                running: 0,
                receipt: Receipt::default(),
                bell: Some(bell),
            }),
            readiness,
        })
    }

    /// Starts threads that do `work`: the actions of [`Mover::next_action`]. When it has returned
    /// on all of them, the stream has ended.
    pub fn start(
        self: &Arc<Self>,
        work: impl Fn(&Mover<'_>, &Admitted<'_>) + Send + Sync + 'static,
    ) -> Result<()> {
        let work = Arc::new(work);
        let count = self.lock().ring.depth();
        self.lock().running = count;
        let start = |_| {
            let (stream, work) = (Arc::clone(self), Arc::clone(&work));
            let run = move || {
                stream.lock().threads.push(thread::current());
                let mover = Mover { stream: &stream, index: Cell::new(None) };
                stream.place.run(&|_| mover.check_wanted(), |admitted| work(&mover, admitted));
                stream.leave();
            };
            thread::Builder::new().name("stream".to_owned()).spawn(run).map(drop)
        };
        (0..count).try_for_each(start).map_err(|error| {
            // Ends those that have started.
            self.end();
            Error::new(ErrorKind::NoMemory, format!("start a thread for the stream: {error}"))
        })
    }

    /// Calls `act` with the ring. Wakes the threads, and the client if there is something for it.
    pub fn with_ring<T>(&self, act: impl FnOnce(&mut Ring) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.ring);
        state.ring_bell();
        state.wake();
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
        self.lock().wake();
    }

    /// A thread has ended.
    fn leave(&self) {
        let mut state = self.lock();
        state.running -= 1;
        if state.running == 0 {
            drop(state);
            // First, so that a client that sees the hang-up does not see the stream in the dump.
            self.place.end();
            self.lock().bell = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mover<'_> {
    /// Waits for something to do. `None` if there will be nothing more.
    pub fn next_action(&self) -> Option<Action> {
        while !self.stream.dropped.load(Ordering::SeqCst) {
            let mut state = self.stream.lock();
            let work = state.ring.work();
            state.ring_bell();
            drop(state);
            match work {
                Work::Move(frame) => {
                    self.index.set(Some(frame.index));
                    return Some(Action::Move(frame));
                }
                Work::Sync => return Some(Action::Sync),
                Work::Wait => thread::park(),
                Work::End => return None,
            }
        }
        None
    }

    /// Tells what became of an action.
    pub fn finish_action(&self, action: Action, result: Result<Receipt>) {
        self.index.set(None);
        let now = monotonic_nanos() as i64;
        let mut state = self.stream.lock();
        if let Ok(receipt) = &result {
            state.receipt.add(receipt);
        }
        match (action, result) {
            (Action::Move(frame), Ok(receipt)) => {
                state.ring.moved(frame.index, receipt.bytes(), now);
            }
            (Action::Move(frame), Err(error)) => state.ring.fail(frame.index, error, now),
            (Action::Sync, Ok(_)) => state.ring.synced(),
            (Action::Sync, Err(error)) => state.ring.abort(error),
        }
        state.ring_bell();
        // Another thread may use a buffer that is free now, or has to end.
        state.wake();
    }

    /// Ends the stream with an error of no frame.
    pub fn abort(&self, error: Error) {
        self.stream.with_ring(|ring| ring.abort(error));
    }

    /// Whether what moves should go on.
    fn check_wanted(&self) -> Result<()> {
        let unwanted = |index| !self.stream.lock().ring.is_wanted(index);
        match self.stream.dropped.load(Ordering::SeqCst) || self.index.get().is_some_and(unwanted) {
            true => Err(Error::new(ErrorKind::Cancelled, "nobody wants this frame any more")),
            false => Ok(()),
        }
    }
}

impl State {
    fn wake(&self) {
        // The threads may wait for something to do, or for their turns at the disk.
        self.threads.iter().for_each(Thread::unpark);
    }

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

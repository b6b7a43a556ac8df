//! Runs requests on file systems that may stall, on threads of their own.
//!
//! A client can serve a file itself, through FUSE, and never answer. Nothing interrupts a thread
//! that waits for such a daemon once the daemon has read the request; only an answer, or the end of
//! the connection, does. So a binder thread does not wait for the daemon: it waits for a thread of
//! the lane, and gives up on it when it makes no progress. The thread keeps its place here, and
//! whatever it holds, until the daemon lets go of it; then it does nothing more and ends.

use binder_shim::{Hold, Lifetime};
use dmabufio_core::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a request may make no progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many binder threads wait for the lane at a time: less than half of them.
const MAX_WAITING: usize = 4;

/// How many threads the lane has, among them those that nobody waits for any more.
const MAX_THREADS: usize = 16;

/// How many of the threads may be one user's.
const MAX_OF_ONE_USER: usize = 2;

/// Admits requests on file systems that may stall, and runs them.
#[derive(Debug)]
pub(crate) struct Lane {
    lifetime: Lifetime,
    patience: Duration,
    places: Arc<Mutex<Places>>,
}

/// Who is in the lane.
#[derive(Debug, Default)]
struct Places {
    waiting: usize,
    threads: HashMap<u32, usize>,
}

/// What a thread of the lane tells the one that waits for it.
enum Message<T> {
    Progress,
    Done(Result<T>),
}

/// How a request in the lane shows that it is alive.
pub(crate) struct Progress<'a>(&'a dyn Fn() -> Result<()>);

impl Progress<'_> {
    /// Counts as progress.
    ///
    /// # Errors
    /// If nobody waits for the request any more: it must do nothing more, and end.
    pub fn made(&self) -> Result<()> {
        (self.0)()
    }
}

/// A thread's place in the lane, until dropped.
struct Place {
    places: Arc<Mutex<Places>>,
    uid: u32,
    // The thread may outlive the request, and a lazy service's last client.
    _hold: Hold,
}

impl Lane {
    /// A lane in a process with this lifetime, which every thread of the lane holds on to.
    pub fn new(lifetime: Lifetime) -> Self {
        Self { lifetime, patience: PATIENCE, places: Arc::default() }
    }

    /// Does `work` for a request of `uid` on a thread of its own, and returns its result.
    ///
    /// # Errors
    /// `Busy` if the lane is full, of this user's requests or of all; `TimedOut` if `work` makes no
    /// progress, and then it may go on until [`Progress::made`] fails.
    pub fn run<T: Send + 'static>(
        &self,
        uid: u32,
        work: impl FnOnce(&Progress<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = self.enter(uid)?;
        let (sender, messages) = channel();
        let run = move || {
            let result = work(&Progress(&|| tell(&sender, Message::Progress)));
            // Before the answer, so that the next request of this user finds it free.
            drop(place);
            // Nobody may be there to be told.
            let _ = tell(&sender, Message::Done(result));
        };
        let started = thread::Builder::new().name("lane".to_owned()).spawn(run);
        let result = match started {
            Err(error) => Err(Error::new(
                ErrorKind::NoMemory,
                format!("start a thread for a file system that may stall: {error}"),
            )),
            Ok(_) => loop {
                match messages.recv_timeout(self.patience) {
                    Ok(Message::Progress) => {}
                    Ok(Message::Done(result)) => break result,
                    Err(RecvTimeoutError::Timeout) => break Err(self.timed_out()),
                    Err(RecvTimeoutError::Disconnected) => {
                        break Err(Error::new(ErrorKind::Io, "file: its thread has panicked"))
                    }
                }
            },
        };
        lock(&self.places).waiting -= 1;
        result
    }

    /// How many requests wait for the lane, and how many threads it has.
    pub fn occupancy(&self) -> (usize, usize) {
        let places = lock(&self.places);
        (places.waiting, places.threads.values().sum())
    }

    fn enter(&self, uid: u32) -> Result<Place> {
        let mut places = lock(&self.places);
        let all: usize = places.threads.values().sum();
        let own = places.threads.get(&uid).copied().unwrap_or(0);
        let waiting = places.waiting;
        if waiting >= MAX_WAITING || all >= MAX_THREADS || own >= MAX_OF_ONE_USER {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "file: {own} requests of this user and {all} in all are waiting for file \
                     systems that may stall; retry when they are done"
                ),
            ));
        }
        places.waiting += 1;
        *places.threads.entry(uid).or_default() += 1;
        drop(places);
        let _hold = self.lifetime.hold();
        Ok(Place { places: Arc::clone(&self.places), uid, _hold })
    }

    fn timed_out(&self) -> Error {
        Error::new(
            ErrorKind::TimedOut,
            format!(
                "file: its file system made no progress for {} s; see that the daemon that serves \
                 it answers, or copy the file elsewhere",
                self.patience.as_secs()
            ),
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        if let Some(count) = places.threads.get_mut(&self.uid) {
            *count -= 1;
        }
        places.threads.retain(|_, count| *count > 0);
    }
}

/// Sends a message; fails if nobody waits for it.
fn tell<T>(sender: &Sender<Message<T>>, message: Message<T>) -> Result<()> {
    sender
        .send(message)
        .map_err(|_| Error::new(ErrorKind::TimedOut, "file: nobody waits for this request"))
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // A panic ends the process, and the counts are consistent at every point anyway.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

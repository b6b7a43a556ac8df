//! The single entry for requests that may wait for a disk, for memory or for a daemon.
//!
//! A binder thread never does such work itself. [`Admission::run`] lets a request in if [`policy`]
//! has room for it, does its work on one of [`threads`], and stops waiting if the work makes no
//! progress. If the client dies, the work ends at its next sign of life. Nothing interrupts a thread
//! that waits for a FUSE daemon which has read the request, or for the lock of an inode. Such a
//! thread keeps its place and its descriptors until it returns; then it does nothing more and ends.

mod admitted;
mod lasting;
mod policy;
mod room;
mod threads;

use crate::in_flight::{Flight, InFlight};
use crate::quota::Quota;
use admitted::{perform, Signal};
use binder_shim::{caller, Lifetime};
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::process::Process;
use room::{Call, Place, Room, Standing, State, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use threads::Threads;

pub(crate) use admitted::Admitted;
pub(crate) use lasting::LastingPlace;
pub use policy::MAX_WAITING;
pub(crate) use policy::{Class, Counts, Lasting};

/// The longest time without progress for a stalling request. Progress is a piece of 64 KiB.
const STALLING_PATIENCE: Duration = Duration::from_secs(10);

/// The same for all other requests, whose pieces have 64 MiB: the time of [`MAX_WAITING`] such
/// pieces together at 25 MB/s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets requests in until it is closed, and runs them.
#[derive(Debug)]
pub(crate) struct Admission {
    lifetime: Lifetime,
    patience: Duration,
    stalling_patience: Duration,
    ids: AtomicU64,
    room: Arc<Room>,
    threads: Threads,
}

impl Admission {
    /// An open entry, for as many requests of a user as `quota` says. Every request keeps a process
    /// of this `lifetime`.
    pub fn new(lifetime: Lifetime, quota: Quota) -> Self {
        Self {
            lifetime,
            patience: PATIENCE,
            stalling_patience: STALLING_PATIENCE,
            ids: AtomicU64::new(1),
            room: Arc::new(Room::new(quota)),
            threads: Threads::new(),
        }
    }

    /// Does `work` for a request of `uid`, the method `call`, on a thread of its own, and returns
    /// its result.
    ///
    /// # Errors
    /// `QuotaExceeded` if the user has as many requests as it may have; `Busy` if another limit is
    /// reached or the service is stopping; `TimedOut` if `work` makes no progress, and then it may
    /// go on until [`Admitted::progress`] fails; else the error of `work`.
    pub fn run<T: Send + 'static>(
        &self,
        call: &'static str,
        uid: u32,
        class: Class,
        work: impl FnOnce(&Admitted<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The caller waits, so the number is its own unless it has just been killed; then the work
        // may run to its end. So it does before Linux 5.3, and where the kernel gives no number.
        let client = Process::open(caller().pid).ok();
        self.run_for(client, call, uid, class, work)
    }

    fn run_for<T: Send + 'static>(
        &self,
        client: Option<Process>,
        call: &'static str,
        uid: u32,
        class: Class,
        work: impl FnOnce(&Admitted<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let standing = Arc::new(Mutex::new(Standing::new(class)));
        let (place, _call) = self.enter(call, uid, class, &standing)?;
        let request = Arc::clone(&place.request);
        let (sender, answer) = channel();
        let run = move || {
            let signal = |signal| {
                if client.as_ref().is_some_and(Process::has_ended) {
                    return Err(Error::new(ErrorKind::Cancelled, "the client has died"));
                }
                if signal == Signal::Settled {
                    place.settle();
                }
                match place.sign(signal == Signal::Queued) {
                    true => Ok(()),
                    false => Err(Error::new(ErrorKind::TimedOut, "nobody waits for this request")),
                }
            };
            let result = perform(&place.request, &signal, work);
            // Before the answer, so that the next request of this user finds it free.
            drop(place);
            // Perhaps no thread waits for it any more.
            let _ = sender.send(result);
        };
        self.threads.run(run).map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("start a thread for the request: {error}"))
        })?;
        let mut wait = self.patience(class);
        loop {
            match answer.recv_timeout(wait) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(ErrorKind::Io, "the thread of the request has panicked"))
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            wait = match self.room.abandon(uid, &standing, |class| self.patience(class)) {
                Verdict::Alive(wait) => wait,
                Verdict::Abandoned(class) => {
                    request.abandon();
                    return Err(timed_out(class, self.patience(class)));
                }
            };
        }
    }

    fn patience(&self, class: Class) -> Duration {
        match class {
            Class::Ordinary => self.patience,
            Class::Stalling => self.stalling_patience,
        }
    }

    /// Lets a batch or a stream of `uid` in.
    ///
    /// # Errors
    /// `QuotaExceeded` if the user has as many as it may have; `Busy` if another limit is
    /// reached or the service is stopping.
    pub fn enter_lasting(&self, uid: u32, kind: Lasting, class: Class) -> Result<LastingPlace> {
        let mut state = self.room.open()?;
        state.places.enter_lasting(uid, kind, class)?;
        let (id, request) = self.list(&mut state, kind.name(), uid);
        drop(state);
        let (room, _hold) = (Arc::clone(&self.room), self.lifetime.hold());
        Ok(LastingPlace { id, room, uid, kind, class, request, _hold })
    }

    /// Lets no more requests in, and waits until all calls have their answers, but no longer than
    /// `patience`. Returns whether they have.
    pub fn close(&self, patience: Duration) -> bool {
        self.room.close(patience)
    }

    /// The requests that are in.
    pub fn counts(&self) -> Counts {
        self.room.lock().places.all()
    }

    /// What runs, in the order of arrival.
    pub fn in_flight(&self) -> Vec<Flight> {
        self.room.lock().requests.values().map(|request| request.now()).collect()
    }

    fn enter(
        &self,
        call: &'static str,
        uid: u32,
        class: Class,
        standing: &Arc<Mutex<Standing>>,
    ) -> Result<(Place, Call<'_>)> {
        let mut state = self.room.open()?;
        state.places.enter(uid, class)?;
        state.calls += 1;
        let (id, request) = self.list(&mut state, call, uid);
        drop(state);
        let _hold = self.lifetime.hold();
        let (room, standing) = (Arc::clone(&self.room), Arc::clone(standing));
        Ok((Place { room, uid, id, request, standing, _hold }, Call(&self.room)))
    }

    /// Gives a request an id, and lists it.
    fn list(&self, state: &mut State, call: &'static str, uid: u32) -> (u64, Arc<InFlight>) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = Arc::new(InFlight::new(id, call, uid));
        state.requests.insert(id, Arc::clone(&request));
        (id, request)
    }
}

fn timed_out(class: Class, patience: Duration) -> Error {
    let seconds = patience.as_secs();
    let what = match class {
        Class::Stalling => format!(
            "file: its file system made no progress for {seconds} s; see that the daemon that \
             serves it answers, or copy the file elsewhere"
        ),
        Class::Ordinary => format!(
            "file: no progress for {seconds} s; see whether the disk answers, and whether somebody \
             else works on this file"
        ),
    };
    Error::new(ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests;

//! The single entry for requests that may wait for a disk, for memory or for a daemon.
//!
//! A binder thread never does such work itself. [`Admission::run`] lets a request in if [`policy`]
//! has room for it, does its work on a thread of its own, and stops waiting if the work makes no
//! progress. If the client dies, the work ends at its next sign of life. Nothing interrupts a thread
//! that waits for a FUSE daemon which has read the request, or for the lock of an inode. Such a
//! thread keeps its place and its descriptors until it returns; then it does nothing more and ends.

mod policy;

use crate::in_flight::{Flight, InFlight, Phase};
use crate::quota::Quota;
use binder_shim::{caller, Hold, Lifetime};
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::priority::Priority;
use dmabufio_core::process::Process;
use dmabufio_core::sys::slice;
use dmabufio_core::trace;
use policy::Places;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use policy::MAX_WAITING;
pub(crate) use policy::{Class, Counts, Lasting};

/// The longest time without progress for a stalling request. Progress is a piece of 64 KiB.
const STALLING_PATIENCE: Duration = Duration::from_secs(10);

/// The same for all other requests, whose pieces have 64 MiB: the time of [`MAX_WAITING`] such
/// pieces together at 25 MB/s.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time slice of a thread that does the work of a request; 3 ms is usual. A thread that answers
/// a short call, or the client's, then runs before it as soon as it wakes up.
const SLICE: Duration = Duration::from_millis(10);

/// Lets requests in until it is closed, and runs them.
#[derive(Debug)]
pub(crate) struct Admission {
    lifetime: Lifetime,
    patience: Duration,
    stalling_patience: Duration,
    ids: AtomicU64,
    room: Arc<Room>,
}

/// The requests that are in, and their limits.
#[derive(Debug)]
struct Room {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    places: Places,
    /// By their ids.
    requests: BTreeMap<u64, Arc<InFlight>>,
    /// Binder threads that have not answered yet.
    calls: usize,
    closed: bool,
}

/// A call that has not been answered, until dropped.
struct Call<'a>(&'a Room);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
        self.0.left.notify_all();
    }
}

/// A request that is in, for its work.
pub(crate) struct Admitted<'a> {
    /// Names the request in the log. Unique for as long as the process lives.
    pub id: u64,
    request: &'a InFlight,
    signal: &'a dyn Fn(Signal) -> Result<()>,
}

/// The request makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// So many bytes have moved since the last one.
    Progress(u64),
    /// It waits for others. That may take any time; another sign follows.
    Queued,
    /// The file lies on an ordinary file system.
    Settled,
}

/// A message from the thread of a request to the thread that waits for it.
enum Message<T> {
    Signal(Signal),
    Done(Result<T>),
}

impl Admitted<'_> {
    /// Reports progress: `moved` more bytes have moved.
    ///
    /// # Errors
    /// `TimedOut` or `Cancelled` if nobody waits for the request any more: its work must stop.
    pub fn progress(&self, moved: u64) -> Result<()> {
        self.request.moved(moved);
        (self.signal)(Signal::Progress(moved))
    }

    /// Reports that the request waits for others, until it makes progress again.
    ///
    /// # Errors
    /// As [`Admitted::progress`].
    pub fn queued(&self) -> Result<()> {
        self.request.enter(Phase::Queued);
        (self.signal)(Signal::Queued)
    }

    /// For the dump: a transfer of `total` bytes is about to begin.
    pub fn begin(&self, priority: Priority, total: u64) {
        self.request.begin(priority, total);
    }

    /// For the dump: what the request does.
    pub fn enter(&self, phase: Phase) {
        self.request.enter(phase);
    }

    /// Counts the request as ordinary from now on unless its file may stall.
    ///
    /// # Errors
    /// As [`Admitted::progress`].
    pub fn settle(&self, may_stall: bool) -> Result<()> {
        (self.signal)(if may_stall { Signal::Progress(0) } else { Signal::Settled })
    }
}

/// A request's place, until dropped.
struct Place {
    room: Arc<Room>,
    uid: u32,
    id: u64,
    request: Arc<InFlight>,
    standing: Arc<Mutex<Standing>>,
    // The thread may outlive the request, and a lazy service's last client.
    _hold: Hold,
}

/// The place of a batch or of a stream, until dropped.
#[derive(Debug)]
pub(crate) struct LastingPlace {
    id: u64,
    room: Arc<Room>,
    uid: u32,
    kind: Lasting,
    class: Class,
    request: Arc<InFlight>,
    // The client may hold the batch and not the service.
    _hold: Hold,
}

impl LastingPlace {
    /// Does `work` on this thread for as long as `progress`, which is told how many bytes have
    /// moved, does not fail.
    pub fn run<T>(
        &self,
        progress: &dyn Fn(u64) -> Result<()>,
        work: impl FnOnce(&Admitted<'_>) -> T,
    ) -> T {
        let signal = |signal| match signal {
            Signal::Progress(moved) => progress(moved),
            // Other files of a batch may stall yet.
            Signal::Queued | Signal::Settled => progress(0),
        };
        perform(&self.request, &signal, work)
    }

    /// Counts it from now on as one whose file may stall.
    ///
    /// # Errors
    /// `Busy` if there are too many of these.
    pub fn stall(&mut self) -> Result<()> {
        self.room.lock().places.stall_lasting(self.uid)?;
        self.class = Class::Stalling;
        Ok(())
    }

    /// Its work has ended: it is in flight no more, although its client may hold it for long.
    pub fn end(&self) {
        self.room.lock().requests.remove(&self.id);
    }
}

impl Drop for LastingPlace {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        state.places.leave_lasting(self.uid, self.kind, self.class);
        // Its work may not have started.
        state.requests.remove(&self.id);
    }
}

/// Does `work` for `request` on this thread, and marks both in the trace.
fn perform<T>(
    request: &InFlight,
    signal: &dyn Fn(Signal) -> Result<()>,
    work: impl FnOnce(&Admitted<'_>) -> T,
) -> T {
    // A policy of the client's may be in force, and a request without a longer slice is as good.
    if let Err(errno) = slice::set(SLICE) {
        log::debug!("sched_setattr: {errno}");
    }
    let Flight { id, call, .. } = request.now();
    trace::set_request(id);
    let _span = trace::span(call);
    work(&Admitted { id, request, signal })
}

/// The state of a request in [`Places`].
#[derive(Debug, Clone, Copy)]
struct Standing {
    class: Class,
    abandoned: bool,
}

impl Admission {
    /// An open entry, for as many requests of a user as `quota` says. Every request keeps a process
    /// of this `lifetime`.
    pub fn new(lifetime: Lifetime, quota: Quota) -> Self {
        let state = State {
            places: Places::new(quota),
            requests: BTreeMap::new(),
            calls: 0,
            closed: false,
        };
        Self {
            lifetime,
            patience: PATIENCE,
            stalling_patience: STALLING_PATIENCE,
            ids: AtomicU64::new(1),
            room: Arc::new(Room { state: Mutex::new(state), left: Condvar::new() }),
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
        let standing = Arc::new(Mutex::new(Standing { class, abandoned: false }));
        let (place, _call) = self.enter(call, uid, class, &standing)?;
        let request = Arc::clone(&place.request);
        let (sender, messages) = channel();
        let run = move || {
            let signal = |signal| {
                if client.as_ref().is_some_and(Process::has_ended) {
                    return Err(Error::new(ErrorKind::Cancelled, "the client has died"));
                }
                if signal == Signal::Settled {
                    place.settle();
                }
                send(&sender, signal)
            };
            let result = perform(&place.request, &signal, work);
            // Before the answer, so that the next request of this user finds it free.
            drop(place);
            // Perhaps no thread waits for it any more.
            let _ = sender.send(Message::Done(result));
        };
        thread::Builder::new().name("request".to_owned()).spawn(run).map_err(|error| {
            Error::new(ErrorKind::NoMemory, format!("start a thread for the request: {error}"))
        })?;
        let (mut class, mut queued) = (class, false);
        loop {
            let patience = match class {
                Class::Ordinary => self.patience,
                Class::Stalling => self.stalling_patience,
            };
            let message = match queued {
                // Those that it waits for are given up one by one, if need be.
                true => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => messages.recv_timeout(patience),
            };
            match message {
                Ok(Message::Signal(signal)) => {
                    queued = signal == Signal::Queued;
                    if signal == Signal::Settled {
                        class = Class::Ordinary;
                    }
                }
                Ok(Message::Done(result)) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(ErrorKind::Io, "the thread of the request has panicked"))
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.abandon(uid, &standing) {
                        request.abandon();
                        return Err(timed_out(class, patience));
                    }
                    // It has just ended; its answer is on the way.
                }
            }
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
        let mut state = self.room.lock();
        state.closed = true;
        let busy = |state: &mut State| state.calls > 0;
        let wait = self.room.left.wait_timeout_while(state, patience, busy);
        !wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
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

    /// Stops waiting for a request, unless it has just left.
    fn abandon(&self, uid: u32, standing: &Arc<Mutex<Standing>>) -> bool {
        let mut state = self.room.lock();
        // The place holds the other one, and is dropped under the same lock.
        if Arc::strong_count(standing) == 1 {
            return false;
        }
        let mut standing = lock(standing);
        standing.abandoned = true;
        state.places.abandon(uid, standing.class);
        true
    }
}

impl Place {
    fn settle(&self) {
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
    /// The state, unless no more requests come in.
    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Busy, "the service is stopping; look it up again"));
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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

/// Sends a signal; fails if no thread waits for it.
fn send<T>(sender: &Sender<Message<T>>, signal: Signal) -> Result<()> {
    sender
        .send(Message::Signal(signal))
        .map_err(|_| Error::new(ErrorKind::TimedOut, "nobody waits for this request"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process; besides, the counts are consistent at every point.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

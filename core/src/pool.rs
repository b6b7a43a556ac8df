//! Zeroed buffers that are kept ready, so that a request need not wait for memory to be zeroed.
//!
//! The pool follows demand. Once a buffer of a size that it keeps has been asked for, it is filled
//! with that size in the background; when nobody has asked for a while, or memory gets short, it is
//! emptied. Buffers only ever leave it: what a client has held never comes back.

pub mod pressure;

use crate::error::{Error, ErrorKind, Result};
use crate::heap::{half_of_memory, Allocation, Allocator};
use crate::sys::ioprio::{self, IoPriority};
use crate::sys::nice;
use rustix::fd::BorrowedFd;
use std::mem;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long buffers are kept without a request for their size, and how long none are made after
/// memory was short.
pub const IDLE: Duration = Duration::from_secs(60);

/// The most buffers in a pool: each is a descriptor.
pub const MAX_BUFFERS: usize = 1024;

/// How often to look whether requests still run.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A size of buffers, and how many of them to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Bytes, a multiple of the page size in a pool.
    pub size: u64,
    /// How many.
    pub count: usize,
}

impl FromStr for Class {
    type Err = String;

    /// Reads `SIZE:COUNT`, where the size may end in `K`, `M` or `G`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let class = text.split_once(':').and_then(|(size, count)| {
            let number = size.trim_end_matches(['K', 'M', 'G']);
            let unit = match &size[number.len()..] {
                "" => 1,
                "K" => 1 << 10,
                "M" => 1 << 20,
                "G" => 1 << 30,
                _ => return None,
            };
            let size = number.parse::<u64>().ok()?.checked_mul(unit)?;
            Some(Self { size, count: count.parse().ok()? })
        });
        class.ok_or_else(|| format!("'{text}': not SIZE:COUNT, such as 32M:8"))
    }
}

/// The buffers of one size.
#[derive(Debug)]
struct Shelf {
    class: Class,
    ready: Vec<Allocation>,
    /// When somebody last asked for one, unless the shelf has been emptied since.
    asked: Option<Instant>,
    hits: u64,
    misses: u64,
}

#[derive(Debug, Default)]
struct State {
    shelves: Vec<Shelf>,
    /// When memory was last short.
    short: Option<Instant>,
    trims: u64,
}

/// What to do next.
#[derive(Debug)]
enum Step {
    /// Make a buffer of this size.
    Fill(u64),
    /// Free these.
    Free(Vec<Allocation>),
    /// Nothing for this long, or until somebody asks or the pool is emptied.
    Wait(Option<Duration>),
}

/// What a pool holds and has done, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// One entry for each size.
    pub shelves: Vec<ShelfStock>,
    /// How often it was emptied because memory was short.
    pub trims: u64,
}

/// The buffers of one size in [`Stock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfStock {
    /// What it is to hold.
    pub class: Class,
    /// How many buffers are ready.
    pub ready: usize,
    /// Requests that got one.
    pub hits: u64,
    /// Requests that had to allocate.
    pub misses: u64,
}

/// Buffers that are kept ready. Empty until [`Pool::keep`] runs.
#[derive(Debug)]
pub struct Pool {
    page_size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Pool {
    /// A pool of buffers of `heap`.
    ///
    /// # Errors
    /// `InvalidRequest` if a size occurs twice or cannot be allocated, or if all buffers together
    /// are more than half of the memory.
    pub fn new(classes: &[Class], heap: &Allocator) -> Result<Self> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidRequest, what);
        let page_size = heap.page_size();
        let mut shelves: Vec<Shelf> = Vec::with_capacity(classes.len());
        let (mut bytes, mut buffers) = (0_u64, 0_usize);
        for &Class { size, count } in classes {
            heap.check_size(size)?;
            let size = size.next_multiple_of(page_size);
            if count == 0 || shelves.iter().any(|shelf| shelf.class.size == size) {
                return Err(invalid(format!("pool: size={size}: no buffers, or given twice")));
            }
            bytes = bytes.saturating_add(size.saturating_mul(count as u64));
            buffers = buffers.saturating_add(count);
            let (ready, asked) = (Vec::new(), None);
            shelves.push(Shelf { class: Class { size, count }, ready, asked, hits: 0, misses: 0 });
        }
        let half = half_of_memory();
        if bytes > half || buffers > MAX_BUFFERS {
            return Err(invalid(format!(
                "pool: {buffers} buffers of {bytes} bytes in all: more than {MAX_BUFFERS} buffers \
                 or half of the memory, {half} bytes"
            )));
        }
        let state = Mutex::new(State { shelves, ..State::default() });
        Ok(Self { page_size, state, changed: Condvar::new() })
    }

    /// Takes a buffer that a request for `size` bytes would be given, if one is ready. It is zeroed
    /// and has never left this process.
    pub fn take(&self, size: u64) -> Option<Allocation> {
        let size = size.checked_next_multiple_of(self.page_size)?;
        let mut state = self.lock();
        let shelf = state.shelves.iter_mut().find(|shelf| shelf.class.size == size)?;
        shelf.asked = Some(Instant::now());
        let taken = shelf.ready.pop();
        match taken {
            Some(_) => shelf.hits += 1,
            None => shelf.misses += 1,
        }
        drop(state);
        self.changed.notify_all();
        taken
    }

    /// Keeps the pool filled with buffers of `heap`, and frees those that nobody has asked for in
    /// `idle`. Makes none while `is_busy`. Keeps what `hold` returns for as long as there are
    /// buffers in the pool. For a thread of its own, which gets the lowest priority. Does not return.
    pub fn keep<H>(
        &self,
        heap: &Allocator,
        idle: Duration,
        is_busy: impl Fn() -> bool,
        hold: impl Fn() -> H,
    ) {
        if let Err(errno) = nice::lowest().and_then(|()| ioprio::set(IoPriority::IDLE)) {
            log::info!("pool: filling at normal priority: {errno}");
        }
        // Only this thread adds buffers, so it is held before the first and until after the last.
        let mut held = None;
        loop {
            let mut state = self.lock();
            match state.next(Instant::now(), idle) {
                Step::Free(buffers) => {
                    drop(state);
                    // Freeing takes time as well; nobody should wait for it.
                    drop(buffers);
                }
                Step::Fill(_) if is_busy() => self.wait(state, Some(BUSY_PAUSE)),
                Step::Fill(size) => {
                    drop(state);
                    held.get_or_insert_with(&hold);
                    match heap.allocate(size) {
                        Ok(buffer) => self.put(buffer),
                        Err(error) => {
                            log::warn!("pool: {error}");
                            self.trim();
                        }
                    }
                }
                Step::Wait(_) if held.is_some() && state.is_empty() => {
                    // What it does when it is let go takes time too.
                    drop(state);
                    held = None;
                }
                Step::Wait(time) => self.wait(state, time),
            }
        }
    }

    /// Empties the pool each time that memory gets short, as `trigger` of [`pressure`] tells. For a
    /// thread of its own.
    ///
    /// # Errors
    /// If that cannot be told any more.
    pub fn empty_on(&self, trigger: BorrowedFd<'_>) -> Result<()> {
        loop {
            pressure::wait(trigger)?;
            self.trim();
        }
    }

    /// Empties the pool because memory is short.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.short = Some(Instant::now());
        let buffers = state.empty();
        if !buffers.is_empty() {
            state.trims += 1;
        }
        drop(state);
        self.changed.notify_all();
        if !buffers.is_empty() {
            log::info!("pool: memory is short; freeing {} buffers", buffers.len());
        }
    }

    /// What is in it.
    pub fn stock(&self) -> Stock {
        let state = self.lock();
        let stock = |shelf: &Shelf| ShelfStock {
            class: shelf.class,
            ready: shelf.ready.len(),
            hits: shelf.hits,
            misses: shelf.misses,
        };
        Stock { shelves: state.shelves.iter().map(stock).collect(), trims: state.trims }
    }

    /// Adds a buffer that was just made, unless the pool has been emptied meanwhile.
    fn put(&self, buffer: Allocation) {
        let mut state = self.lock();
        let shelf = state.shelves.iter_mut().find(|shelf| shelf.class.size == buffer.size);
        if let Some(shelf) = shelf.filter(|shelf| shelf.asked.is_some()) {
            shelf.ready.push(buffer);
        }
    }

    fn wait(&self, state: MutexGuard<'_, State>, time: Option<Duration>) {
        // Whatever wakes it, the caller looks again.
        match time {
            Some(time) => drop(self.changed.wait_timeout(state, time)),
            None => drop(self.changed.wait(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process, and the state is consistent at every point anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What to do at `now`.
    fn next(&mut self, now: Instant, idle: Duration) -> Step {
        let left =
            |since: Instant| (since + idle).checked_duration_since(now).filter(|d| !d.is_zero());
        for shelf in &mut self.shelves {
            if shelf.asked.is_some_and(|asked| left(asked).is_none()) {
                shelf.asked = None;
                return Step::Free(mem::take(&mut shelf.ready));
            }
        }
        let calm = self.short.and_then(left);
        let missing =
            |shelf: &&Shelf| shelf.asked.is_some() && shelf.ready.len() < shelf.class.count;
        if let (None, Some(shelf)) = (calm, self.shelves.iter().find(missing)) {
            return Step::Fill(shelf.class.size);
        }
        let idle = self.shelves.iter().filter_map(|shelf| shelf.asked.and_then(left));
        Step::Wait(idle.chain(calm).min())
    }

    fn is_empty(&self) -> bool {
        self.shelves.iter().all(|shelf| shelf.ready.is_empty())
    }

    /// Takes everything out. Only new requests make it fill again.
    fn empty(&mut self) -> Vec<Allocation> {
        self.shelves.iter_mut().for_each(|shelf| shelf.asked = None);
        self.shelves.iter_mut().flat_map(|shelf| mem::take(&mut shelf.ready)).collect()
    }
}

#[cfg(test)]
mod tests;

//! Keeps zeroed buffers ready, so that a request need not wait until the kernel zeroes memory.
//!
//! The pool follows demand. After the first request for one of its sizes, it makes buffers of that
//! size in the background. It frees them after some time without a request, and when memory gets
//! short. A buffer that a client has held never comes back.

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

/// The time that the pool keeps buffers without a request for their size, and the time that it
/// makes none after memory was short.
pub const IDLE: Duration = Duration::from_secs(60);

/// The most buffers in a pool: each is a descriptor.
pub const MAX_BUFFERS: usize = 1024;

/// The time between two looks whether requests still run.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A size of buffers, and how many of them to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Bytes, a multiple of the page size in a pool.
    pub size: u64,
    /// The number of buffers.
    pub count: usize,
}

impl FromStr for Class {
    type Err = String;

    /// Reads `SIZE:COUNT`, where the size may end in `K`, `M` or `G`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let class = text.split_once(':').and_then(|(size, count)| {
            Some(Self { size: parse_size(size)?, count: count.parse().ok()? })
        });
        class.ok_or_else(|| format!("'{text}': not SIZE:COUNT, such as 32M:8"))
    }
}

/// Reads a number of bytes, which may end in `K`, `M` or `G`.
pub fn parse_size(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match &text[number.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The buffers of one size.
#[derive(Debug)]
struct Shelf {
    class: Class,
    ready: Vec<Allocation>,
    /// The time of the last request for one, unless the pool has emptied the shelf since then.
    asked: Option<Instant>,
    hits: u64,
    misses: u64,
}

#[derive(Debug, Default)]
struct State {
    shelves: Vec<Shelf>,
    /// The last time that memory was short.
    short: Option<Instant>,
    trims: u64,
}

/// The next step of the thread that fills the pool.
#[derive(Debug)]
enum Step {
    /// Make a buffer of this size.
    Fill(u64),
    /// Free these.
    Free(Vec<Allocation>),
    /// Wait for this long, or until a request arrives or the pool gets empty.
    Wait(Option<Duration>),
}

/// The state and the history of a pool, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// One entry for each size.
    pub shelves: Vec<ShelfStock>,
    /// The number of times that it got empty because memory was short.
    pub trims: u64,
}

/// The buffers of one size in [`Stock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfStock {
    /// The size, and the number to keep.
    pub class: Class,
    /// The number of buffers that are ready.
    pub ready: usize,
    /// Requests that got one.
    pub hits: u64,
    /// Requests that had to allocate.
    pub misses: u64,
}

/// A pool of buffers. Empty until [`Pool::keep`] runs.
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
    /// `InvalidRequest` if a size occurs twice or is no valid size of a buffer, or if all buffers
    /// together are more than half of the memory.
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

    /// Takes a buffer for a request of `size` bytes, if one is ready. It is zeroed and has never
    /// left this process.
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

    /// Keeps the pool filled with buffers of `heap`, and frees buffers that had no request for
    /// `idle`. Makes none while `is_busy`. Keeps the value of `hold` as long as the pool has
    /// buffers. Needs a thread of its own, to which it gives the lowest priority. Does not return.
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
        // Only this thread adds buffers, so the hold lasts from before the first to after the last.
        let mut held = None;
        loop {
            let mut state = self.lock();
            match state.next(Instant::now(), idle) {
                Step::Free(buffers) => {
                    drop(state);
                    // To free buffers takes time, and nobody should wait for it.
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
                    // The drop of the hold takes time, too.
                    drop(state);
                    held = None;
                }
                Step::Wait(time) => self.wait(state, time),
            }
        }
    }

    /// Empties the pool each time that `trigger` of [`pressure`] reports that memory is short.
    /// Needs a thread of its own.
    ///
    /// # Errors
    /// If `trigger` stops working.
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

    /// The content of the pool.
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

    /// Adds a new buffer, unless the pool got empty meanwhile.
    fn put(&self, buffer: Allocation) {
        let mut state = self.lock();
        let shelf = state.shelves.iter_mut().find(|shelf| shelf.class.size == buffer.size);
        if let Some(shelf) = shelf.filter(|shelf| shelf.asked.is_some()) {
            shelf.ready.push(buffer);
        }
    }

    fn wait(&self, state: MutexGuard<'_, State>, time: Option<Duration>) {
        // The caller looks again after every wake-up.
        match time {
            Some(time) => drop(self.changed.wait_timeout(state, time)),
            None => drop(self.changed.wait(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process; besides, the state is consistent at every point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The step at the time `now`.
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

    /// Takes everything out. The pool fills again only after new requests.
    fn empty(&mut self) -> Vec<Allocation> {
        self.shelves.iter_mut().for_each(|shelf| shelf.asked = None);
        self.shelves.iter_mut().flat_map(|shelf| mem::take(&mut shelf.ready)).collect()
    }
}

#[cfg(test)]
mod tests;

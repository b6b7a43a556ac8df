//! Limits the memory of buffers.
//!
//! The memory of a dma-buf belongs to the resident set of no process. When memory runs out, the
//! kernel kills processes that have nothing to do with it. So the service checks two limits before
//! it allocates:
//!
//! * The request must fit into the available memory of the kernel, less a reserve for the rest of
//!   the system, less the memory that other requests are about to allocate.
//! * The live buffers of one user must stay within its quota. A buffer lives as long as anything has
//!   a reference to it. The kernel's statistics of dma-bufs show this (`CONFIG_DMABUF_SYSFS_STATS`).
//!   Without them, the service keeps a descriptor of each buffer, whose fdinfo has the number of
//!   references, and closes it soon after all others are gone.

use crate::quota::{Limits, Quota};
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::heap::Allocation;
use dmabufio_core::sys::sysconf;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::fstat;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::result::Result as StdResult;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

const MEMINFO: &str = "/proc/meminfo";

/// Has a folder for each live dma-buf, named by its inode.
const STATISTICS: &str = "/sys/kernel/dmabuf/buffers";

/// The part of all memory that is not for buffers.
const RESERVE: u64 = 16;

/// The number of remembered buffers before the service checks for the first time which of them
/// live.
const FEW: usize = 64;

/// The time between two looks at the buffers whose descriptors the service keeps. For so long it
/// holds the memory of a buffer that nobody else has any more.
const LOOK: Duration = Duration::from_millis(500);

/// Decides whether buffers get memory.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    quota: Quota,
    ledger: Mutex<Ledger>,
    /// Signalled with the first kept descriptor.
    kept: Condvar,
}

#[derive(Debug)]
struct Ledger {
    /// What requests are about to allocate, by user.
    reserved: HashMap<u32, Sum>,
    /// The buffers that may live, by inode.
    buffers: HashMap<u64, Entry>,
    /// The totals of each user.
    users: HashMap<u32, Sum>,
    /// The number of `buffers` at which the service checks which of them live.
    many: usize,
    /// `None` if the kernel has no statistics.
    statistics: Option<PathBuf>,
}

/// A buffer of a client.
#[derive(Debug)]
struct Entry {
    uid: u32,
    size: u64,
    /// Where the kernel has no statistics.
    fd: Option<OwnedFd>,
}

/// Some buffers of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub buffers: usize,
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.buffers = self.buffers.saturating_add(other.buffers);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn subtract(&mut self, other: Self) {
        self.buffers -= other.buffers;
        self.bytes -= other.bytes;
    }
}

/// What counts for one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    /// Live buffers.
    pub live: Sum,
    /// Buffers that requests are about to allocate.
    pub promised: Sum,
}

/// The reason why a request gets no memory.
#[derive(Debug)]
enum Refusal {
    /// The user holds too much.
    User(String),
    /// The machine has too little.
    Machine(String),
}

/// Memory that a request may allocate. A drop returns the rest.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    memory: &'a Memory,
    uid: u32,
    left: Mutex<Sum>,
}

impl Memory {
    /// For this machine.
    pub fn new(quota: Quota) -> Self {
        let statistics = PathBuf::from(STATISTICS);
        let statistics = statistics.is_dir().then_some(statistics);
        if statistics.is_none() {
            log::info!("no {STATISTICS}: keeping descriptors to see which buffers live");
        }
        if field("MemAvailable").is_none() {
            log::warn!("{MEMINFO}: unreadable; only the kernel refuses what does not fit");
        }
        Self::with(sysconf::physical_pages() * sysconf::page_size(), statistics, quota)
    }

    fn with(total: u64, statistics: Option<PathBuf>, quota: Quota) -> Self {
        let (buffers, users) = (HashMap::new(), HashMap::new());
        let ledger = Ledger { reserved: HashMap::new(), buffers, users, many: FEW, statistics };
        Self { total, quota, ledger: Mutex::new(ledger), kept: Condvar::new() }
    }

    /// Reserves the memory of `wanted` for `uid`. Calls `shrink`, which may free memory, before it
    /// gives up because of the machine.
    ///
    /// # Errors
    /// `QuotaExceeded` or `NoMemory`, with the numbers.
    pub fn reserve(&self, uid: u32, wanted: Sum, shrink: impl FnOnce()) -> Result<Reservation<'_>> {
        self.reserve_of(uid, wanted, || field("MemAvailable"), shrink)
    }

    fn reserve_of(
        &self,
        uid: u32,
        wanted: Sum,
        available: impl Fn() -> Option<u64>,
        shrink: impl FnOnce(),
    ) -> Result<Reservation<'_>> {
        let first = self.try_reserve(uid, wanted, &available);
        let result = match first {
            Err(Refusal::Machine(_)) => {
                shrink();
                self.try_reserve(uid, wanted, &available)
            }
            result => result,
        };
        result.map_err(|refusal| match refusal {
            Refusal::User(what) => Error::new(ErrorKind::QuotaExceeded, what),
            Refusal::Machine(what) => Error::new(ErrorKind::NoMemory, what),
        })
    }

    /// The limits of `uid`, and its limit in bytes on this machine.
    pub fn limits(&self, uid: u32) -> (Limits, u64) {
        let limits = self.quota.of(uid);
        (limits, limits.bytes.unwrap_or(self.total / 2))
    }

    /// Whether somebody has to call [`Memory::watch`].
    pub fn needs_watch(&self) -> bool {
        self.lock().statistics.is_none()
    }

    /// Closes the kept descriptors of buffers that nobody else has any more. Needs a thread of its
    /// own. Does not return.
    pub fn watch(&self) {
        loop {
            let none = |ledger: &mut Ledger| ledger.buffers.is_empty();
            let ledger = self.kept.wait_while(self.lock(), none);
            drop(ledger.unwrap_or_else(PoisonError::into_inner));
            sleep(LOOK);
            let dead = self.lock().forget_dead();
            // To free buffers takes time, and nobody should wait for it.
            drop(dead);
        }
    }

    /// What counts for each user.
    pub fn charges(&self) -> BTreeMap<u32, Charge> {
        let mut ledger = self.lock();
        let dead = ledger.forget_dead();
        let users = ledger.users.keys().chain(ledger.reserved.keys());
        let charges = users.map(|uid| (*uid, ledger.of(*uid))).collect();
        drop(ledger);
        drop(dead);
        charges
    }

    fn try_reserve(
        &self,
        uid: u32,
        wanted: Sum,
        available: &impl Fn() -> Option<u64>,
    ) -> StdResult<Reservation<'_>, Refusal> {
        let mut ledger = self.lock();
        let bytes = wanted.bytes;
        let (Limits { buffers: most, .. }, most_bytes) = self.limits(uid);
        let fits = |Charge { live, promised }: Charge| {
            let mut sum = wanted;
            sum.add(live);
            sum.add(promised);
            sum.buffers <= most && sum.bytes <= most_bytes
        };
        if !fits(ledger.of(uid)) {
            // The request waits until the memory is free, and nobody else does.
            let dead = ledger.forget_dead();
            drop(ledger);
            drop(dead);
            ledger = self.lock();
            let charge @ Charge { live, promised } = ledger.of(uid);
            if !fits(charge) {
                return Err(Refusal::User(format!(
                    "{bytes} bytes: this user holds {} buffers of {} bytes and was promised {} of \
                     {}, {most} of {most_bytes} allowed; free some",
                    live.buffers, live.bytes, promised.buffers, promised.bytes
                )));
            }
        }
        // Read under the lock: otherwise memory that another request spends meanwhile would be in
        // neither number. If the kernel does not show the number, it has to refuse itself.
        let available = available();
        let reserve = self.total / RESERVE;
        let reserved: u64 = ledger.reserved.values().map(|sum| sum.bytes).sum();
        let room = available
            .map_or(u64::MAX, |bytes| bytes.saturating_sub(reserve).saturating_sub(reserved));
        if bytes > room {
            return Err(Refusal::Machine(format!(
                "{bytes} bytes: {} bytes of memory are available, of which {reserve} are kept free \
                 and {reserved} are promised to other requests; free memory, or load in parts",
                available.unwrap_or(0)
            )));
        }
        ledger.reserved.entry(uid).or_default().add(wanted);
        Ok(Reservation { memory: self, uid, left: Mutex::new(wanted) })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic ends the process; besides, the ledger is consistent at every point.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Takes back a part of the memory promised to `uid`.
    fn release(&mut self, uid: u32, sum: Sum) {
        if let Some(reserved) = self.reserved.get_mut(&uid) {
            reserved.subtract(sum);
            if *reserved == Sum::default() {
                self.reserved.remove(&uid);
            }
        }
    }

    fn of(&self, uid: u32) -> Charge {
        let of = |sums: &HashMap<u32, Sum>| sums.get(&uid).copied().unwrap_or_default();
        Charge { live: of(&self.users), promised: of(&self.reserved) }
    }

    /// Returns what kept the memory of buffers that live no more.
    fn remember(&mut self, inode: u64, entry: Entry) -> Vec<OwnedFd> {
        self.users.entry(entry.uid).or_default().add(entry.sum());
        self.buffers.insert(inode, entry);
        match self.buffers.len() > self.many {
            true => self.forget_dead(),
            false => Vec::new(),
        }
    }

    /// Forgets buffers that live no more, and returns what kept their memory.
    fn forget_dead(&mut self) -> Vec<OwnedFd> {
        let mut dead = Vec::new();
        let statistics = self.statistics.as_deref();
        self.buffers.retain(|inode, entry| {
            let alive = match (&entry.fd, statistics) {
                (Some(fd), _) => references(fd).is_some_and(|count| count > 1),
                (None, Some(statistics)) => is_alive(statistics, *inode),
                (None, None) => false,
            };
            if !alive {
                dead.extend(entry.fd.take());
            }
            alive
        });
        self.users.clear();
        for entry in self.buffers.values() {
            self.users.entry(entry.uid).or_default().add(entry.sum());
        }
        self.many = FEW.max(self.buffers.len() * 2);
        dead
    }
}

impl Entry {
    fn sum(&self) -> Sum {
        Sum { buffers: 1, bytes: self.size }
    }
}

impl Reservation<'_> {
    /// Counts a new buffer: its memory is no longer available, and counts for the user until the
    /// buffer is gone.
    pub fn spend(&self, Allocation { fd, size, .. }: &Allocation) {
        let mut ledger = self.memory.lock();
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let spent = Sum { buffers: left.buffers.min(1), bytes: left.bytes.min(*size) };
            left.subtract(spent);
            ledger.release(self.uid, spent);
        }
        // Neither the folder nor fdinfo knows the memfds of the embedded heap.
        let kept = match &ledger.statistics {
            Some(_) => None,
            None if references(fd).is_none() => return,
            // The other half is for requests: many small buffers must not use up all descriptors.
            None if ledger.buffers.len() as u64 >= sysconf::open_files() / 2 => return,
            // Without a descriptor to spare, the buffer does not count.
            None => match fd.try_clone() {
                Ok(fd) => Some(fd),
                Err(_) => return,
            },
        };
        let Some(inode) = fstat(fd).ok().map(|stat| stat.st_ino) else { return };
        if ledger.statistics.as_deref().is_some_and(|statistics| !is_alive(statistics, inode)) {
            return;
        }
        let dead = ledger.remember(inode, Entry { uid: self.uid, size: *size, fd: kept });
        drop(ledger);
        drop(dead);
        self.memory.kept.notify_all();
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let left = *self.left.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.memory.lock().release(self.uid, left);
    }
}

fn is_alive(statistics: &Path, inode: u64) -> bool {
    statistics.join(inode.to_string()).is_dir()
}

/// The number of references to a dma-buf; `None` for anything else.
fn references(fd: &OwnedFd) -> Option<u64> {
    let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    count_of(&fdinfo)
}

/// The line `count:` of `dma_buf_show_fdinfo`, which leaves out the reference of the reader.
fn count_of(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("count:"))?.trim().parse().ok()
}

/// A field of `/proc/meminfo`, in bytes.
fn field(name: &str) -> Option<u64> {
    parse(&fs::read_to_string(MEMINFO).ok()?, name)
}

fn parse(meminfo: &str, name: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests;

//! Limits the memory of buffers.
//!
//! The memory of a dma-buf belongs to the resident set of no process. When memory runs out, the
//! kernel kills processes that have nothing to do with it. So the service checks two limits before
//! it allocates:
//!
//! * The request must fit into the available memory of the kernel, less a reserve for the rest of
//!   the system, less the memory that other requests are about to allocate.
//! * The live buffers of one user must stay below half of the memory. A buffer lives as long as any
//!   process holds its descriptor. Only the kernel's statistics of dma-bufs show this
//!   (`CONFIG_DMABUF_SYSFS_STATS`). Without them there is no limit for a user.

use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::heap::Allocation;
use dmabufio_core::sys::sysconf;
use rustix::fs::fstat;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::result::Result as StdResult;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const MEMINFO: &str = "/proc/meminfo";

/// Has a folder for each live dma-buf, named by its inode.
const STATISTICS: &str = "/sys/kernel/dmabuf/buffers";

/// The part of all memory that is not for buffers.
const RESERVE: u64 = 16;

/// The most buffers of one user. Each buffer costs the service an entry in its ledger.
const MAX_BUFFERS_OF_USER: usize = 4096;

/// The number of remembered buffers before the service checks for the first time which of them
/// live.
const FEW: usize = 64;

/// Decides whether buffers get memory.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    /// Bytes that requests are about to allocate, by user.
    reserved: HashMap<u32, u64>,
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
#[derive(Debug, Clone, Copy)]
struct Entry {
    uid: u32,
    size: u64,
}

/// The buffers of one user.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    buffers: usize,
    bytes: u64,
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
    /// Changed under the ledger's lock only.
    left: AtomicU64,
}

impl Memory {
    /// For this machine.
    pub fn new() -> Self {
        let statistics = PathBuf::from(STATISTICS);
        let statistics = statistics.is_dir().then_some(statistics);
        if statistics.is_none() {
            log::info!("no {STATISTICS}: the buffers of one user have no limit of their own");
        }
        if field("MemAvailable").is_none() {
            log::warn!("{MEMINFO}: unreadable; only the kernel refuses what does not fit");
        }
        Self::with(sysconf::physical_pages() * sysconf::page_size(), statistics)
    }

    fn with(total: u64, statistics: Option<PathBuf>) -> Self {
        let (buffers, users) = (HashMap::new(), HashMap::new());
        let ledger = Ledger { reserved: HashMap::new(), buffers, users, many: FEW, statistics };
        Self { total, ledger: Mutex::new(ledger) }
    }

    /// Reserves `bytes` for buffers of `uid`. Calls `shrink`, which may free memory, before it gives
    /// up.
    ///
    /// # Errors
    /// `NoMemory`, with the numbers.
    pub fn reserve(&self, uid: u32, bytes: u64, shrink: impl FnOnce()) -> Result<Reservation<'_>> {
        self.reserve_of(uid, bytes, || field("MemAvailable"), shrink)
    }

    fn reserve_of(
        &self,
        uid: u32,
        bytes: u64,
        available: impl Fn() -> Option<u64>,
        shrink: impl FnOnce(),
    ) -> Result<Reservation<'_>> {
        let first = self.try_reserve(uid, bytes, &available);
        let result = match first {
            Err(Refusal::Machine(_)) => {
                shrink();
                self.try_reserve(uid, bytes, &available)
            }
            result => result,
        };
        result.map_err(|refusal| {
            let (Refusal::User(what) | Refusal::Machine(what)) = refusal;
            Error::new(ErrorKind::NoMemory, what)
        })
    }

    fn try_reserve(
        &self,
        uid: u32,
        bytes: u64,
        available: &impl Fn() -> Option<u64>,
    ) -> StdResult<Reservation<'_>, Refusal> {
        let mut ledger = self.lock();
        let half = self.total / 2;
        let promised = ledger.reserved.get(&uid).copied().unwrap_or(0);
        let wanted = promised.saturating_add(bytes);
        let fits = |Sum { buffers, bytes: live }: Sum| {
            buffers < MAX_BUFFERS_OF_USER && live.saturating_add(wanted) <= half
        };
        if !fits(ledger.of(uid)) {
            ledger.forget_dead();
            let sum = ledger.of(uid);
            if !fits(sum) {
                return Err(Refusal::User(format!(
                    "{bytes} bytes: this user holds {} buffers of {} bytes and was promised \
                     {promised}, {MAX_BUFFERS_OF_USER} of {half} allowed; free some",
                    sum.buffers, sum.bytes
                )));
            }
        }
        // Read under the lock: otherwise memory that another request spends meanwhile would be in
        // neither number. If the kernel does not show the number, it has to refuse itself.
        let available = available();
        let reserve = self.total / RESERVE;
        let reserved: u64 = ledger.reserved.values().sum();
        let room = available
            .map_or(u64::MAX, |bytes| bytes.saturating_sub(reserve).saturating_sub(reserved));
        if bytes > room {
            return Err(Refusal::Machine(format!(
                "{bytes} bytes: {} bytes of memory are available, of which {reserve} are kept free \
                 and {reserved} are promised to other requests; free memory, or load in parts",
                available.unwrap_or(0)
            )));
        }
        *ledger.reserved.entry(uid).or_default() += bytes;
        Ok(Reservation { memory: self, uid, left: AtomicU64::new(bytes) })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic ends the process; besides, the ledger is consistent at every point.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Takes back a part of the memory promised to `uid`.
    fn release(&mut self, uid: u32, bytes: u64) {
        if let Some(reserved) = self.reserved.get_mut(&uid) {
            *reserved -= bytes;
            if *reserved == 0 {
                self.reserved.remove(&uid);
            }
        }
    }

    fn of(&self, uid: u32) -> Sum {
        self.users.get(&uid).copied().unwrap_or_default()
    }

    fn remember(&mut self, inode: u64, entry: Entry) {
        self.buffers.insert(inode, entry);
        let sum = self.users.entry(entry.uid).or_default();
        sum.buffers += 1;
        sum.bytes += entry.size;
        if self.buffers.len() > self.many {
            self.forget_dead();
        }
    }

    fn forget_dead(&mut self) {
        let Some(statistics) = &self.statistics else {
            return;
        };
        self.buffers.retain(|inode, _| is_alive(statistics, *inode));
        self.users.clear();
        for entry in self.buffers.values() {
            let sum = self.users.entry(entry.uid).or_default();
            sum.buffers += 1;
            sum.bytes += entry.size;
        }
        self.many = FEW.max(self.buffers.len() * 2);
    }
}

impl Reservation<'_> {
    /// Counts a new buffer: its memory is no longer available, and counts for the user until the
    /// buffer is gone.
    pub fn spend(&self, Allocation { fd, size, .. }: &Allocation) {
        let mut ledger = self.memory.lock();
        let spent = (*size).min(self.left.load(Ordering::Relaxed));
        self.left.fetch_sub(spent, Ordering::Relaxed);
        ledger.release(self.uid, spent);
        let Some(statistics) = &ledger.statistics else {
            return;
        };
        // The folder has dma-bufs only, and not the memfds of the embedded heap.
        let inode = fstat(fd).ok().map(|stat| stat.st_ino);
        if let Some(inode) = inode.filter(|inode| is_alive(statistics, *inode)) {
            ledger.remember(inode, Entry { uid: self.uid, size: *size });
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let left = *self.left.get_mut();
        self.memory.lock().release(self.uid, left);
    }
}

fn is_alive(statistics: &Path, inode: u64) -> bool {
    statistics.join(inode.to_string()).is_dir()
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

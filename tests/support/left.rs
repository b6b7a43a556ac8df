//! What the service and the kernel have when all clients are gone.

use super::fixture::{buffers_of, Fixture};
use super::vm_kernel;
use std::fs::{self, DirEntry};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time until what clients had is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time for work that a slow disk holds up. What hangs takes longer than any time.
const WORK: Duration = Duration::from_secs(120);

/// The variable, and its value, with which the C library has one area of memory for all threads, and
/// no store of freed pieces in each of them. Also in `xtask/src/vm.rs`.
pub const ONE_AREA: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0");

#[derive(Debug, Clone, Copy)]
pub struct Left {
    pub descriptors: usize,
    /// Those of the service's own. Binder starts threads up to a limit and keeps them.
    pub threads: usize,
    /// All dma-bufs of the kernel; on a host, the buffers that the service has.
    pub buffers: usize,
    /// Memory of the service's own, in KiB.
    pub memory: Memory,
}

/// Normally, the C library has an area of memory for each of up to eight threads of a CPU, in which
/// it keeps 128 KiB or more, and the stacks of threads that have ended: much memory for few leaks.
/// Where all threads share one area, its size alone tells.
#[derive(Debug, Clone, Copy)]
pub enum Memory {
    All(u64),
    OneArea(u64),
}

impl Memory {
    fn of(pid: &str) -> Self {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).expect("the service");
        let environment = read("environ");
        // The C library cuts its own copy of the value into its parts.
        let one = format!("{}={}", ONE_AREA.0, ONE_AREA.1.split(':').next().expect("a part"));
        let lines = |file: &str| String::from_utf8_lossy(&read(file)).into_owned();
        let kib = |line: &str, key: &str| -> Option<u64> {
            line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok()
        };
        if environment.split(|byte| *byte == 0).any(|variable| variable == one.as_bytes()) {
            let areas = lines("smaps");
            let heap = areas.lines().skip_while(|line| !line.ends_with("[heap]"));
            let size = heap.into_iter().find_map(|line| kib(line, "Anonymous:"));
            return Self::OneArea(size.expect("the size of [heap]"));
        }
        let size = lines("status").lines().find_map(|line| kib(line, "RssAnon:"));
        Self::All(size.expect("RssAnon"))
    }

    fn exceeds(self, before: Self) -> bool {
        // The allocator keeps what it may need again.
        match (self, before) {
            (Self::OneArea(now), Self::OneArea(before)) => now > before + 512,
            (Self::All(now), Self::All(before)) => now > before + 1024,
            _ => true,
        }
    }
}

impl Left {
    pub fn of(fixture: &Fixture) -> Self {
        let entries = |path: String| fs::read_dir(path).expect("a folder").flatten();
        let name = |thread: DirEntry| fs::read_to_string(thread.path().join("comm"));
        let threads = entries(format!("/proc/{}/task", fixture.pid())).flat_map(name);
        Self {
            descriptors: fixture.descriptors().len(),
            threads: threads.filter(|name| !name.starts_with("binder:")).count(),
            buffers: match vm_kernel() {
                Some(_) => entries("/sys/kernel/dmabuf/buffers".to_owned()).count(),
                None => buffers_of(&fixture.pid()).len(),
            },
            memory: Memory::of(&fixture.pid()),
        }
    }

    /// Waits until there is no more than `before`, and returns what there is.
    pub fn no_more_than(before: &Self, fixture: &Fixture) -> Self {
        let start = Instant::now();
        loop {
            let now = Self::of(fixture);
            if now.counts_no_more_than(before) && !now.memory.exceeds(before.memory) {
                return now;
            }
            let open = || fixture.descriptors();
            assert!(start.elapsed() < PATIENCE, "{before:?} before, now {now:?}: {:?}", open());
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until there is no more than `before` but for memory, and returns what there is.
    pub fn used_since(before: &Self, fixture: &Fixture) -> Self {
        let start = Instant::now();
        while !Self::of(fixture).counts_no_more_than(before) && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50));
        }
        Self { memory: Memory::of(&fixture.pid()), ..*before }
    }

    fn counts_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.buffers <= before.buffers
    }
}

/// Waits until the service has no request, no batch, no stream and no charge. Needs kernel binder.
pub fn wait_until_quiet(fixture: &Fixture) {
    const NONE: [&str; 4] = [
        "requests running: 0",
        "requests given up that have not ended: 0",
        "batches: 0",
        "streams: 0",
    ];
    let start = Instant::now();
    loop {
        let dump = fixture.dump(&[]);
        let busy = |line: &str| line.starts_with("request ") || line.starts_with("user ");
        let none = NONE.iter().all(|line| dump.lines().any(|dumped| dumped == *line));
        if none && !dump.lines().any(busy) {
            return;
        }
        let pid = fixture.pid();
        assert!(start.elapsed() < WORK, "the service {pid} has work: {dump}");
        sleep(Duration::from_millis(50));
    }
}

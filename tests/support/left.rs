//! What the service and the kernel have when all clients are gone.

use super::fixture::{buffers_of, Fixture};
use super::vm_kernel;
use std::fs::{self, DirEntry};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time until what clients had is gone.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Left {
    pub descriptors: usize,
    /// Those of the service's own. Binder starts threads up to a limit and keeps them.
    pub threads: usize,
    /// All dma-bufs of the kernel; on a host, the buffers that the service has.
    pub buffers: usize,
    /// Memory of the service's own, in KiB.
    pub memory: u64,
}

impl Left {
    pub fn of(fixture: &Fixture) -> Self {
        let entries = |path: String| fs::read_dir(path).expect("a folder").flatten();
        let name = |thread: DirEntry| fs::read_to_string(thread.path().join("comm"));
        let threads = entries(format!("/proc/{}/task", fixture.pid())).flat_map(name);
        let status = fs::read_to_string(format!("/proc/{}/status", fixture.pid()));
        let status = status.expect("the status of the service");
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|text| text.trim().strip_suffix(" kB")).expect("RssAnon");
        Self {
            descriptors: fixture.descriptors().len(),
            threads: threads.filter(|name| !name.starts_with("binder:")).count(),
            buffers: match vm_kernel() {
                Some(_) => entries("/sys/kernel/dmabuf/buffers".to_owned()).count(),
                None => buffers_of(&fixture.pid()).len(),
            },
            memory: memory.parse().expect("a number"),
        }
    }

    /// Waits until there is no more than `before`, and returns what there is.
    pub fn no_more_than(before: &Self, fixture: &Fixture) -> Self {
        let start = Instant::now();
        loop {
            let now = Self::of(fixture);
            if !now.exceeds(before) {
                return now;
            }
            let open = || fixture.descriptors();
            assert!(start.elapsed() < PATIENCE, "{before:?} before, now {now:?}: {:?}", open());
            sleep(Duration::from_millis(50));
        }
    }

    fn exceeds(&self, before: &Self) -> bool {
        // The allocator keeps what it may need again.
        const SLACK: u64 = 1024;
        self.descriptors > before.descriptors
            || self.threads > before.threads
            || self.buffers > before.buffers
            || self.memory > before.memory + SLACK
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
        assert!(start.elapsed() < PATIENCE, "the service {pid} has work: {dump}");
        sleep(Duration::from_millis(50));
    }
}

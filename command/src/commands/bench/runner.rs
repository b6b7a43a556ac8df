//! Runs the rows of a table in turn, so that a change on the machine affects all of them. Counts
//! the cost of each run.

use super::figures::{Figures, Row, Spread, Table};
use super::report::per_gib;
use crate::commands::verify::compare;
use crate::name::shown;
use crate::progress::Progress;
use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use dmabufio_client::open_regular;
use dmabufio_core::file::cached_pages;
use dmabufio_core::sys::sysconf::page_size;
use rustix::fs::{fadvise, Advice, OFlags};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The unit of CPU time in `/proc/PID/stat`, on every architecture of Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// The service's names, built by Cargo and on Android, as `/proc/PID/comm` cuts them.
const SERVICE_COMM: [&str; 2] = ["dmabufio-servic", "vendor.dmabufio"];

/// Whether the page cache holds the file before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// Nothing of it
    Cold,
    /// All of it
    Warm,
}

/// The name of a value on the command line and in the JSON.
pub fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// The cost of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub alloc: Duration,
    pub io: Duration,
    /// Both together, if they overlap; then the other two are zero.
    pub both: Duration,
}

impl Times {
    fn total(&self) -> Duration {
        self.alloc + self.io + self.both
    }
}

/// A row to measure.
pub struct Case<'a> {
    pub name: String,
    pub x: Option<u64>,
    pub bytes: u64,
    pub published_ms: Option<[u32; 3]>,
    /// Moves the bytes once, and on request compares them with the file.
    pub run: Box<dyn FnMut(bool) -> Result<Times> + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(
        name: impl Into<String>,
        bytes: u64,
        run: impl FnMut(bool) -> Result<Times> + 'a,
    ) -> Self {
        Self { name: name.into(), x: None, bytes, published_ms: None, run: Box::new(run) }
    }

    pub fn at(self, x: u64) -> Self {
        Self { x: Some(x), ..self }
    }
}

/// The file that all rows read.
pub struct Source {
    pub path: PathBuf,
    pub buffered: File,
    pub direct: File,
    /// Whole pages, because some rows cannot read edges.
    pub len: u64,
}

impl Source {
    pub fn open(path: &Path, size: Option<u64>) -> Result<Self> {
        let name = shown(path);
        let buffered = open_regular(path, OFlags::empty())?;
        let direct = open_regular(path, OFlags::DIRECT)
            .with_context(|| format!("{name}: open with O_DIRECT; use a file on f2fs or ext4"))?;
        let page_size = page_size();
        let len = buffered.metadata()?.len();
        let len = size.unwrap_or(len).min(len) / page_size * page_size;
        ensure!(len > 0, "{name}: shorter than a page; use a larger file");
        Ok(Self { path: path.to_owned(), buffered, direct, len })
    }

    /// The number of its pages in the page cache; 0 if the kernel does not show it.
    pub fn cached_pages(&self) -> u64 {
        cached_pages(self.buffered.as_fd(), 0, 0).unwrap_or(0)
    }

    /// Brings the page cache and the services into the state before a run.
    pub fn settle(&self, cache: Cache) -> Result<()> {
        wait_for_idle_services();
        match cache {
            Cache::Cold => fadvise(&self.buffered, 0, 0, Advice::DontNeed)
                .context("drop the file's page cache"),
            Cache::Warm => {
                let mut part = vec![0; 1 << 20];
                (0..self.len).step_by(part.len()).try_for_each(|offset| {
                    // The last part may end early.
                    self.buffered.read_at(&mut part, offset).map(drop).context("fill the cache")
                })
            }
        }
    }

    /// Compares `len` bytes from `offset` with the output of `read` for the same range.
    pub fn verify(
        &self,
        offset: u64,
        len: u64,
        read: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        compare(&self.buffered, offset, len, read)
    }
}

/// The results of the runs of one case.
#[derive(Default)]
struct Record {
    times: Vec<Times>,
    cpu: Duration,
    cache_growth: u64,
    error: Option<String>,
}

impl Record {
    fn run(&mut self, source: &Source, cache: Cache, case: &mut Case<'_>) -> Result<()> {
        source.settle(cache)?;
        let (cpu, pages) = (cpu_time(), source.cached_pages());
        self.times.push((case.run)(false)?);
        self.cpu += cpu_time().saturating_sub(cpu);
        self.cache_growth = self.cache_growth.max(source.cached_pages().saturating_sub(pages));
        Ok(())
    }

    fn finish(self, case: Case<'_>) -> Row {
        let spread = |time: fn(&Times) -> Duration| Spread::new(self.times.iter().map(time));
        let some = |spread: Option<Spread>| spread.filter(|spread| spread.max_nanos > 0);
        let moved = case.bytes * self.times.len() as u64;
        let figures = spread(Times::total).filter(|_| self.error.is_none()).map(|total| Figures {
            alloc: some(spread(|times| times.alloc)),
            io: some(spread(|times| times.io)),
            total,
            cpu_seconds_per_gib: per_gib(self.cpu, moved),
            page_cache_growth_pages: self.cache_growth,
        });
        let Case { name, x, bytes, published_ms, .. } = case;
        Row { name, x, bytes, figures, error: self.error, published_ms }
    }
}

/// Measures `cases`, each `runs` times, in turn. A first round verifies the data and does not
/// count.
pub fn measure(
    source: &Source,
    id: &str,
    cache: Cache,
    runs: u32,
    mut cases: Vec<Case<'_>>,
    progress: &mut Progress,
) -> Table {
    let round: u64 = cases.iter().map(|case| case.bytes).sum();
    progress.extend(round * u64::from(runs + 1), format!("measuring {id}"));
    let mut records: Vec<Record> = cases.iter().map(|_| Record::default()).collect();
    for round in 0..=runs {
        for (case, record) in cases.iter_mut().zip(&mut records) {
            if record.error.is_none() {
                let done = if round == 0 {
                    source.settle(cache).and_then(|()| (case.run)(true)).map(drop)
                } else {
                    record.run(source, cache, case)
                };
                record.error = done.err().map(|error| format!("{error:#}"));
            }
            progress.add(case.bytes);
        }
    }
    let rows = cases.into_iter().zip(records).map(|(case, record)| record.finish(case)).collect();
    Table { id: id.to_owned(), cache: value_name(cache), rows }
}

/// The CPU time of this process with its ended children, and of all services.
fn cpu_time() -> Duration {
    ticks("self") + service_time()
}

fn service_time() -> Duration {
    services().iter().map(|pid| ticks(&pid.to_string())).sum()
}

/// Waits until no service works: a pool fills itself in the background.
fn wait_for_idle_services() {
    loop {
        let before = service_time();
        thread::sleep(5 * TICK);
        if service_time() == before {
            break;
        }
    }
}

/// The process ids of the services that run here.
pub fn services() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_service = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| SERVICE_COMM.contains(&name.trim_end()))
    };
    pids.filter(is_service).collect()
}

fn ticks(pid: &str) -> Duration {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(Duration::ZERO, |stat| parse(&stat))
}

/// `utime`, `stime`, `cutime` and `cstime` of proc_pid_stat(5).
fn parse(stat: &str) -> Duration {
    // The second field is a name in parentheses with any content; the third is field 0 here.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u32 = fields.skip(11).take(4).flat_map(str::parse::<u32>).sum();
    TICK * ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 9 9 9 9 11 22 3 4 20 0 1 0 5 6 7\n";
        assert_eq!(parse(stat), Duration::from_millis(400));
    }

    #[test]
    fn own_cpu_time_grows_with_work() {
        let before = cpu_time();
        let mut x = 1_u64;
        while cpu_time() == before {
            x = x.wrapping_mul(3);
        }
        assert_ne!(x, 0);
    }
}

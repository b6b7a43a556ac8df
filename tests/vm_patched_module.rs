//! The speed of direct I/O into the mappings of `kernel/module`, beside `RW_FILE` and beside a read
//! through the page cache, on one kernel. Needs the patched kernel with the module.
//!
//! Prints the figures and whether they reach the goals. The bounds have room for the emulated CPU.
//! `DMABUFIO_MIB` sets another size of the file.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_core::heap::Heap;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::{ioctl, uapi};
use rustix::fs::OFlags;
use rustix::time::{clock_gettime, ClockId};
use std::env;
use std::fmt::{self, Display, Formatter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use support::fragments::Fragments;
use support::{allocate, big_file, make_cold, open, scratch, Random, BIG_BLOCK, PAGE};

/// The size of the file where a read takes long, or fragments of memory have to be made.
const LITTLE: u64 = 64 << 20;

/// A way to read a file into a buffer.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// `DMA_BUF_IOCTL_RW_FILE` with `DIRECT`.
    RwFile,
    /// `pread` with `O_DIRECT` into a new mapping of a buffer of `system-direct`.
    Module,
    /// `pread` into a new mapping of a buffer of `system`: what a kernel without both can do.
    PageCache,
}

impl Way {
    fn buffer(self, len: u64) -> OwnedFd {
        let heap = if self == Way::Module { Heap::SystemDirect } else { Heap::System };
        allocate(heap, len)
    }

    /// Reads the first `len` bytes of a cold file.
    fn read(self, path: &Path, buffer: &OwnedFd, len: u64) -> Cost {
        make_cold(path);
        let flags = if self == Way::Module { OFlags::DIRECT } else { OFlags::empty() };
        let file = open(path, flags);
        let (start, cpu) = (Instant::now(), cpu_time());
        if self == Way::RwFile {
            let request = uapi::dma_buf_rw_file {
                flags: uapi::DMA_BUF_RW_FLAGS_READ | uapi::DMA_BUF_RW_FLAGS_DIRECT,
                buf_len: len,
                ..Default::default()
            };
            ioctl::dma_buf_rw_file(buffer.as_fd(), Some(file.as_fd()), request).expect("RW_FILE");
        } else {
            let mapping = Mapping::new(buffer.as_fd(), 0, len as usize, Access::ReadWrite);
            let mapping = mapping.expect("map");
            let mut done = 0;
            while done < len {
                let read = mapping.fill(done as usize, (len - done) as usize, file.as_fd(), done);
                done += read.expect("read") as u64;
            }
        }
        Cost { time: start.elapsed(), cpu: cpu_time() - cpu }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    cpu: Duration,
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What two ways cost, in pairs of which each side goes first as often as the other.
struct Pairs(Vec<(Cost, Cost)>);

impl Pairs {
    /// Takes `rounds` pairs, after one that does not count.
    fn measure(path: &Path, len: u64, ways: (Way, Way), rounds: usize) -> Self {
        let buffers = (ways.0.buffer(len), ways.1.buffer(len));
        let pair = |round: usize| {
            let one = || ways.0.read(path, &buffers.0, len);
            let other = || ways.1.read(path, &buffers.1, len);
            if round % 2 == 0 {
                (one(), other())
            } else {
                let last = other();
                (one(), last)
            }
        };
        pair(0);
        check(&buffers.0, len);
        check(&buffers.1, len);
        Self((0..rounds).map(pair).collect())
    }

    /// How much faster the first way is: the median over the pairs.
    fn speed(&self) -> f64 {
        median(self.0.iter().map(|(one, other)| other.time.as_secs_f64() / one.time.as_secs_f64()))
    }

    /// The CPU time of the first way in units of that of the second.
    fn cpu(&self) -> f64 {
        median(self.0.iter().map(|(one, other)| one.cpu.as_secs_f64() / other.cpu.as_secs_f64()))
    }
}

impl Display for Pairs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let millis = |value: fn(&(Cost, Cost)) -> Duration| {
            median(self.0.iter().map(|pair| value(pair).as_secs_f64() * 1e3))
        };
        write!(
            f,
            "{:.1} ms (CPU {:.1}) and {:.1} ms (CPU {:.1}); speeds {:.2?}",
            millis(|pair| pair.0.time),
            millis(|pair| pair.0.cpu),
            millis(|pair| pair.1.time),
            millis(|pair| pair.1.cpu),
            self.0
                .iter()
                .map(|(one, other)| other.time.as_secs_f64() / one.time.as_secs_f64())
                .collect::<Vec<_>>(),
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Compares a page of each block of the buffer with what [`big_file`] has written.
fn check(buffer: &OwnedFd, len: u64) {
    let mapping = Mapping::new(buffer.as_fd(), 0, len as usize, Access::Read).expect("map");
    let block = Random::new(1).bytes(BIG_BLOCK);
    let mut page = vec![0; PAGE as usize];
    for (i, start) in (0..len as usize).step_by(BIG_BLOCK).enumerate() {
        let at = i * 37 % (BIG_BLOCK / page.len()) * page.len();
        mapping.read(start + at, &mut page).expect("read the buffer");
        assert!(page == block[at..][..page.len()], "{start} + {at}: other bytes");
    }
}

fn goal(what: &str, value: f64, goal: f64, reached: bool) {
    println!("  {what} {value:.3}: goal {goal} {}", if reached { "reached" } else { "MISSED" });
}

/// The size that `DMABUFIO_MIB` sets, or else `usual`.
fn file_len(usual: u64) -> u64 {
    env::var("DMABUFIO_MIB").map_or(usual, |mib| mib.parse::<u64>().expect("a number") << 20)
}

#[test]
fn module_reads_as_fast_as_the_ioctl() {
    let dir = scratch();
    let len = file_len(256 << 20);
    let path = big_file(dir.path(), len);
    // Measured again where it is out of bounds: what is too slow is so each time.
    for attempt in 1.. {
        let pairs = Pairs::measure(&path, len, (Way::Module, Way::RwFile), 7);
        let (speed, cpu) = (pairs.speed(), pairs.cpu());
        println!("{} MiB, module and RW_FILE: {pairs}", len >> 20);
        goal("speed of the module over that of RW_FILE", speed, 0.95, speed >= 0.95);
        goal("CPU time of the module over that of RW_FILE", cpu, 1.1, cpu <= 1.1);
        if speed >= 0.6 && cpu <= 4.0 {
            break;
        }
        assert!(attempt < 3, "speed {speed:.3}, CPU {cpu:.3}");
    }
}

#[test]
fn module_reads_many_times_as_fast_as_the_page_cache() {
    let dir = scratch();
    let len = file_len(LITTLE);
    let path = big_file(dir.path(), len);
    let pairs = Pairs::measure(&path, len, (Way::Module, Way::PageCache), 5);
    let speed = pairs.speed();
    println!("{} MiB, module and page cache: {pairs}", len >> 20);
    goal("speed of the module over that of the page cache", speed, 10.0, speed >= 10.0);
    assert!(speed >= 4.0, "speed {speed:.3}");
}

#[test]
fn module_reads_faster_than_the_page_cache_into_single_pages() {
    let dir = scratch();
    let path = big_file(dir.path(), LITTLE);
    // For two buffers, the page cache, and the system.
    let _fragments = Fragments::new(4 * LITTLE + (128 << 20));
    let pairs = Pairs::measure(&path, LITTLE, (Way::Module, Way::PageCache), 5);
    let speed = pairs.speed();
    println!("{} MiB in single pages, module and page cache: {pairs}", LITTLE >> 20);
    goal("speed of the module over that of the page cache", speed, 3.0, speed >= 3.0);
    assert!(speed >= 2.0, "speed {speed:.3}");
}

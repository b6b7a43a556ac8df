//! What a load of many buffers costs beside its two halves: allocating the buffers, and reading into
//! buffers that exist.
//!
//! How much of one half hides behind the other depends on how many processors are free, so the test
//! demands only that it is no loss, with room for what else the machine does. `cargo xtask bench`
//! judges how much it is, on a quiet machine.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::pfd;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::{Allocation, Allocator, Heap};
use dmabufio_core::load::{load, Item, Loaded, Source};
use dmabufio_core::method::{Method, Mode};
use dmabufio_core::pool::{Class, Pool};
use dmabufio_core::transfer::turns::Unlimited;
use dmabufio_core::transfer::{transfer, Durability, Request};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::fixture::{duplicate, list, request, Fixture};
use support::{big_file, scratch};
use vendor_dmabufio::aidl::vendor::dmabufio::{LoadItem::LoadItem, LoadRequest::LoadRequest};

const COUNT: usize = 32;
const SIZE: u64 = 32 << 20;
const ROUNDS: usize = 5;

/// The tests measure, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The times of one round, taken one after the other on the same machine.
#[derive(Debug, Default)]
struct Round {
    alloc: Duration,
    read: Duration,
    cold: Duration,
    warm: Duration,
}

impl Round {
    /// Beside both halves, one after the other.
    fn cold_ratio(&self) -> f64 {
        self.cold.as_secs_f64() / (self.alloc + self.read).as_secs_f64()
    }

    /// Beside the longer half, which hides the other where nothing is in the way.
    fn overlap_ratio(&self) -> f64 {
        self.cold.as_secs_f64() / self.alloc.max(self.read).as_secs_f64()
    }

    fn warm_ratio(&self) -> f64 {
        self.warm.as_secs_f64() / self.read.as_secs_f64()
    }
}

/// Checks the medians of the ratios within each round.
fn judge(rounds: &[Round]) {
    for Round { alloc, read, cold, warm } in rounds {
        println!("alloc {alloc:.1?}, read {read:.1?}, load cold {cold:.1?}, warm {warm:.1?}");
    }
    let median = |ratio: fn(&Round) -> f64| {
        let mut ratios: Vec<f64> = rounds.iter().map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let (cold, warm) = (median(Round::cold_ratio), median(Round::warm_ratio));
    let overlap = median(Round::overlap_ratio);
    println!("cold / (alloc + read) {cold:.3}, / max {overlap:.3}; warm / read {warm:.3}");
    assert!(cold <= 1.1, "a load takes {cold:.3} of its halves one after the other");
    assert!(warm <= 1.25, "a load from a full pool takes {warm:.3} of reading alone");
}

fn timed<T>(action: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = action();
    (start.elapsed(), value)
}

fn source_file(dir: &Path) -> File {
    File::open(big_file(dir, SIZE * COUNT as u64)).expect("open")
}

fn extent(i: usize) -> Extent {
    Extent { file_offset: i as u64 * SIZE, buffer_offset: 0, len: SIZE }
}

#[test]
fn load_in_this_process_costs_no_more_than_its_halves() {
    let _alone = alone();
    let dir = scratch();
    let file = source_file(dir.path());
    let file = RegularFile::new(file.as_fd(), Heap::System).expect("a regular file");
    let items: Vec<Item> =
        (0..COUNT).map(|i| Item { size: SIZE, extents: vec![extent(i)] }).collect();
    let heap = Arc::new(Allocator::open(Heap::System).expect("the system heap"));
    let class = Class { size: SIZE, count: COUNT };
    let pool = Arc::new(Pool::new(&[class], &heap).expect("a pool"));
    let measuring = Arc::new(AtomicBool::new(false));
    {
        let (heap, pool, measuring) = (heap.clone(), pool.clone(), measuring.clone());
        let is_busy = move || measuring.load(Ordering::Relaxed);
        thread::spawn(move || pool.keep(&heap, Duration::from_secs(3600), is_busy, || ()));
    }
    let arrival = Instant::now();
    let allocated = &|_: &Allocation| ();
    let cold = Source { heap: &heap, pool: None, uid: 0, tag: "test", arrival, allocated };
    let warm = Source { pool: Some(&pool), ..cold };
    let allocate = || (0..COUNT).map(|_| cold.allocate(SIZE).expect("allocate")).collect();
    let read = |buffers: &[Allocation]| {
        for (i, buffer) in buffers.iter().enumerate() {
            let request = Request {
                buffer: &buffer.buffer(),
                file: &file,
                extents: &[extent(i)],
                direction: Direction::Load,
                mode: Mode::Auto,
                durability: Durability::None,
            };
            assert_eq!(transfer(&request).expect("read").direct, SIZE);
        }
    };
    let load = |source| {
        let mut results = Vec::new();
        let mut deliver = |result| results.push(result);
        load(source, &file, &items, Mode::Auto, &mut Unlimited, &mut deliver).expect("load");
        results
    };
    let check = |results: Vec<Result<Loaded, _>>| {
        for result in results {
            let receipt = result.expect("filled").receipt;
            assert_eq!((receipt.direct, receipt.method), (SIZE, Some(Method::RwFileDirect)));
        }
    };

    drop(pool.take(SIZE));
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        measuring.store(false, Ordering::Relaxed);
        while pool.stock().shelves[0].ready < COUNT {
            sleep(Duration::from_millis(10));
        }
        measuring.store(true, Ordering::Relaxed);
        let mut round = Round::default();
        let buffers: Vec<_>;
        (round.alloc, buffers) = timed(allocate);
        (round.read, ()) = timed(|| read(&buffers));
        drop(buffers);
        let results;
        (round.cold, results) = timed(|| load(cold));
        check(results);
        let results;
        (round.warm, results) = timed(|| load(warm));
        check(results);
        rounds.push(round);
    }
    let stock = pool.stock().shelves[0];
    assert_eq!((stock.hits, stock.misses), ((COUNT * ROUNDS) as u64, 1));
    judge(&rounds);
}

#[test]
fn load_through_the_service_costs_no_more_than_its_halves() {
    let _alone = alone();
    let fixture = Fixture::start(&["--pool", "32M:32"]);
    let plain = Fixture::start(&[]);
    let file = source_file(fixture.dir.path());
    let file = || file.try_clone().expect("dup");
    let extent = |i| (i as i64 * SIZE as i64, 0, SIZE as i64);
    let load = |fixture: &Fixture| {
        let item = |i| LoadItem { size: SIZE as i64, extents: list(&[extent(i)]) };
        let load = LoadRequest {
            file: Some(pfd(file().into())),
            items: (0..COUNT).map(item).collect(),
            ..Default::default()
        };
        let result = fixture.service.load(&load).expect("load");
        for item in &result.items {
            assert_eq!(item.receipt.as_ref().expect("a receipt").bytesDirect, SIZE as i64);
        }
        result.items
    };
    let allocate = || (0..COUNT).map(|_| plain.allocate(SIZE as i64)).collect();

    drop(fixture.allocate(SIZE as i64));
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        fixture.held_buffers(COUNT, &HashSet::new());
        let mut round = Round::default();
        let buffers: Vec<_>;
        (round.alloc, buffers) = timed(allocate);
        (round.read, ()) = timed(|| {
            for (i, buffer) in buffers.iter().enumerate() {
                let fd = pfd(duplicate(&buffer.fd));
                let read = request(Some(fd), file(), &[extent(i)]);
                let receipt = plain.service.transfer(&read).expect("read");
                assert_eq!(receipt.bytesDirect, SIZE as i64);
            }
        });
        drop(buffers);
        let items;
        (round.cold, items) = timed(|| load(&plain));
        drop(items);
        let items;
        (round.warm, items) = timed(|| load(&fixture));
        drop(items);
        rounds.push(round);
    }
    judge(&rounds);
}

//! Clients that are killed while a blocking call waits for a slow disk. Kernel binder says which
//! process calls.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, pfd, BinderResult};
use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::{list, request, Fixture};
use support::slow_disk::SlowDisk;
use support::victim::{self, Victims};
use support::{file, make_cold, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{LoadItem::LoadItem, LoadRequest::LoadRequest};

/// The file on the slow disk. Its load takes more than twenty turns.
const LEN: i64 = 48 << 20;

/// Milliseconds for each read.
const DELAY: u64 = 300;

/// How soon nothing is left of a client. The goal is a second; the emulated CPUs may take longer to
/// look.
const BOUND: Duration = Duration::from_secs(2);

/// What the service has for its clients.
#[derive(Debug, PartialEq)]
struct Holdings {
    /// Its requests and the charges of its users, as the dump shows them.
    dumped: Vec<String>,
    descriptors: usize,
    /// The names of those threads that work for requests.
    threads: Vec<String>,
    /// The dma-bufs of the whole machine.
    buffers: usize,
}

impl Holdings {
    fn of(fixture: &Fixture) -> Self {
        let is_holding = |line: &&str| {
            ["requests ", "request ", "batches", "user "].iter().any(|key| line.starts_with(key))
        };
        let dump = fixture.dump(&[]);
        let tasks = fs::read_dir(format!("/proc/{}/task", fixture.pid())).expect("its threads");
        // One may end meanwhile.
        let names = tasks.flatten().flat_map(|task| fs::read_to_string(task.path().join("comm")));
        let works = |name: &String| ["request", "allocate", "transfer"].contains(&name.trim());
        Self {
            dumped: dump.lines().filter(is_holding).map(str::to_owned).collect(),
            descriptors: fixture.descriptors().len(),
            threads: names.filter(works).collect(),
            buffers: fs::read_dir("/sys/kernel/dmabuf/buffers").expect("dma-bufs").count(),
        }
    }
}

/// In a client: makes the call, of which it does not see the end.
fn be_killed<T>(call: impl FnOnce() -> BinderResult<T>) {
    victim::is_at_work();
    match call() {
        Ok(_) => panic!("the call has ended"),
        Err(status) => panic!("{}", describe(&status)),
    }
}

/// Kills the clients, and returns how long it takes until the service has what it had `before`.
fn kill(victims: Victims, fixture: &Fixture, before: &Holdings) -> Duration {
    victims.kill();
    let start = Instant::now();
    loop {
        let now = Holdings::of(fixture);
        if now == *before {
            return start.elapsed();
        }
        assert!(start.elapsed() < BOUND, "{:?}: {now:?}, before {before:?}", start.elapsed());
        sleep(Duration::from_millis(5));
    }
}

/// Waits until `count` requests have moved bytes or wait for that, with a buffer each.
fn wait_for(fixture: &Fixture, count: usize, before: &Holdings) {
    let start = Instant::now();
    let in_mid_load = |text: &str| text.matches(&format!(" of {LEN} bytes after ")).count();
    loop {
        let now = Holdings::of(fixture);
        if in_mid_load(&now.dumped.join("\n")) == count && now.buffers == before.buffers + count {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{now:?}, before {before:?}");
        sleep(Duration::from_millis(5));
    }
}

/// A disk, and a file on it that is in no page cache.
fn slow_file(fixture: &Fixture) -> (SlowDisk, PathBuf) {
    let disk = SlowDisk::mount(fixture.dir.path(), DELAY);
    let path = file(&disk.path, "slow", &Random::new(12).bytes(LEN as usize));
    make_cold(&path);
    (disk, path)
}

#[test]
fn transfer_of_a_client_that_is_killed_ends_and_its_buffer_is_free() {
    let fixture = Fixture::new();
    if let Some(path) = victim::path() {
        let file = File::open(path).expect("open");
        let transfer = request(fixture.allocate(LEN).fd, file, &[(0, 0, LEN)]);
        return be_killed(|| fixture.service.transfer(&transfer));
    }
    let (_disk, path) = slow_file(&fixture);
    let before = Holdings::of(&fixture);
    let test = "transfer_of_a_client_that_is_killed_ends_and_its_buffer_is_free";
    let victims = Victims::start(test, &path, 1);
    wait_for(&fixture, 1, &before);
    let time = kill(victims, &fixture, &before);
    println!("nothing is left of a killed client after {time:?}");
}

#[test]
fn nothing_is_left_of_100_clients_that_are_killed_in_mid_load() {
    let fixture = Fixture::new();
    if let Some(path) = victim::path() {
        let load = LoadRequest {
            file: Some(pfd(File::open(path).expect("open").into())),
            items: vec![LoadItem { size: LEN, extents: list(&[(0, 0, LEN)]) }],
            ..Default::default()
        };
        return be_killed(|| fixture.service.load(&load));
    }
    let (_disk, path) = slow_file(&fixture);
    let before = Holdings::of(&fixture);
    let test = "nothing_is_left_of_100_clients_that_are_killed_in_mid_load";
    // A user may have 16 calls at a time.
    let times: Vec<Duration> = (0..10)
        .map(|_| {
            let victims = Victims::start(test, &path, 10);
            wait_for(&fixture, 10, &before);
            kill(victims, &fixture, &before)
        })
        .collect();
    println!("nothing is left of ten killed clients after {times:?}");
}

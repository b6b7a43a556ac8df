//! 64 clients that wait for a disk that stands still, beside eight batches of 1 GiB from a disk of 100 MB/s: how soon the
//! service shows what it does, and answers calls that need no disk.
//!
//! Emulated CPUs are slower than those of a phone: the goals are printed, and the bounds have room.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, pfd, Strong};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::ends::Ends;
use support::fixture::{duplicate, failed_with, request, Fixture};
use support::percentiles::Percentiles;
use support::slow_disk::SlowDisk;
use support::{big_file, file, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, Error::Error as Code, ITransfer::ITransfer, SubmitRequest::SubmitRequest,
};

const CLIENTS: usize = 64;
/// Those that have room, of one user.
const WAITING: usize = 16;
const BATCHES: usize = 8;
const GIB: i64 = 1 << 30;

/// What a dump may take: the goal, and where the test fails.
const DUMP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// The same for a control call.
const CONTROL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// A disk that goes on when dropped, so that its clients end.
struct Resumes<'a>(&'a SlowDisk);

impl Drop for Resumes<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// Loads from a disk that stands still, again and again while there is no room.
fn hang(fixture: &Fixture, path: &Path, buffer: &Buffer, end: &AtomicBool, refused: &AtomicUsize) {
    let mut pause = Duration::from_millis(100);
    while !end.load(Ordering::Relaxed) {
        let file = File::open(path).expect("open");
        let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, buffer.size)]);
        match fixture.service.transfer(&load) {
            Ok(_) => return assert!(end.load(Ordering::Relaxed), "the disk does not stand still"),
            Err(status) => {
                assert!(failed_with(&status, Code::QUOTA_EXCEEDED), "{}", describe(&status));
                refused.fetch_add(1, Ordering::Relaxed);
                sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(4));
            }
        }
    }
}

#[test]
fn dumps_and_control_calls_answer_at_once_while_64_clients_hang_and_8_gib_move() {
    const LEN: i64 = 64 << 10;
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 0);
    let hanging = file(&disk.path, "hanging", &Random::new(8).bytes(LEN as usize));
    let whole = big_file(fixture.dir.path(), GIB as u64);
    let target = fixture.allocate(GIB);
    let buffers: Vec<_> = (0..CLIENTS).map(|_| fixture.allocate(LEN)).collect();
    let (end, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    disk.suspend();
    thread::scope(|scope| {
        let _resumes = Resumes(&disk);
        let _ends = Ends(&end);
        let (fixture, end, refused) = (&fixture, &end, &refused);
        let hanging = hanging.as_path();
        for buffer in &buffers {
            scope.spawn(move || hang(fixture, hanging, buffer, end, refused));
        }
        // More than the disk moves while the test runs. A batch that is dropped is cancelled.
        let _batches: Vec<Strong<dyn ITransfer>> = (0..BATCHES)
            .map(|_| {
                let file = File::open(&whole).expect("open");
                let load = request(Some(pfd(duplicate(&target.fd))), file, &[(0, 0, GIB)]);
                let batch = SubmitRequest { transfers: vec![load], ..Default::default() };
                fixture
                    .service
                    .submit(&batch)
                    .unwrap_or_else(|status| panic!("{}", describe(&status)))
            })
            .collect();
        let in_flight = |dump: &str| {
            let count = |call| dump.matches(&format!(": {call} uid=0 normal, ")).count();
            (count("transfer"), count("submit"))
        };
        let start = Instant::now();
        while in_flight(&fixture.dump(&[])) != (WAITING, BATCHES) {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", fixture.dump(&[]));
            sleep(Duration::from_millis(10));
        }
        for args in [&[][..], &["--json"]] {
            let mut times: Vec<_> = (0..100)
                .map(|_| {
                    let start = Instant::now();
                    let dump = fixture.dump(args);
                    let time = start.elapsed();
                    let full = in_flight(&dump) == (WAITING, BATCHES);
                    assert!(full || !args.is_empty(), "not all of them are in flight: {dump}");
                    time
                })
                .collect();
            times.sort_unstable();
            println!("dump {args:?}: p50 {:?}, p99 {:?}, goal {:?}", times[50], times[98], DUMP.0);
            assert!(times[98] < DUMP.1, "{times:?}");
        }
        let calls = Percentiles::of_control_calls(fixture);
        println!("getCapabilities {calls:?}, goal {:?}", CONTROL.0);
        assert!(calls.p99 < CONTROL.1, "{calls:?}");
        assert_eq!(in_flight(&fixture.dump(&[])), (WAITING, BATCHES), "still");
        let refused = refused.load(Ordering::Relaxed);
        println!("meanwhile {refused} requests refused");
        assert!(refused > 0);
    });
}

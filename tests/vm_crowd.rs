//! Many clients at once: 64 that wait for a disk that stands still, and batches of 8 GiB in flight
//! on another. What the service answers meanwhile, and how soon. And what a batch costs beside a
//! blocking load.
//!
//! The bounds are those of a phone where they hold on the emulated CPUs; the other tests say which
//! goal theirs stands for.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{borrow, describe, ex, pfd, Strong};
use rustix::event::{poll, PollFd, PollFlags};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::fixture::{duplicate, list, request, Fixture};
use support::slow_disk::SlowDisk;
use support::{big_file, file, make_cold, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, Error::Error as Code, ITransfer::ITransfer, LoadItem::LoadItem,
    LoadRequest::LoadRequest, SubmitRequest::SubmitRequest,
};

const GIB: i64 = 1 << 30;
const CLIENTS: usize = 64;
const BATCHES: usize = 8;

/// What a call may take while nobody waits for a disk: 99 of 100.
const QUICK: Duration = Duration::from_millis(5);

/// What a dump may take.
const DUMP: Duration = Duration::from_millis(100);

/// What may lie between the end of a batch and the moment when poll says so.
const SEEN: Duration = Duration::from_millis(2);

/// How much more a load by submit may take than a blocking one.
const SUBMIT: f64 = 1.02;

fn submit_transfer(
    fixture: &Fixture,
    (buffer, path, len): (&Buffer, &Path, i64),
) -> Strong<dyn ITransfer> {
    let file = File::open(path).expect("open");
    let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, len)]);
    let batch = SubmitRequest { transfers: vec![load], ..Default::default() };
    fixture.service.submit(&batch).unwrap_or_else(|status| panic!("{}", describe(&status)))
}

fn wait(transfer: &Strong<dyn ITransfer>) {
    let completion = transfer.getCompletion().expect("a descriptor");
    let completion = borrow(&completion);
    let mut fds = [PollFd::new(&completion, PollFlags::IN)];
    assert_eq!(poll(&mut fds, 60_000), Ok(1), "the batch does not end");
}

/// Sorts and returns the value below which are `percent` of all.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// The median of the 99th percentiles of five rounds of `count` calls.
fn p99(count: usize, call: impl Fn()) -> Duration {
    let mut rounds = [(); 5].map(|()| {
        let time = |_| {
            let start = Instant::now();
            call();
            let time = start.elapsed();
            sleep(Duration::from_millis(2));
            time
        };
        percentile(&mut (0..count).map(time).collect::<Vec<_>>(), 99)
    });
    percentile(&mut rounds, 50)
}

/// Sets it when dropped, after a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A disk that goes on when dropped, so that its clients end.
struct Resumes<'a>(&'a SlowDisk);

impl Drop for Resumes<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

#[test]
fn control_calls_answer_at_once_while_64_clients_hang_and_8_gib_move() {
    const LEN: i64 = 64 << 10;
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 0);
    let hanging = file(&disk.path, "hanging", &Random::new(8).bytes(LEN as usize));
    let whole = big_file(fixture.dir.path(), GIB as u64);
    let buffer = fixture.allocate(GIB);
    let buffers: Vec<_> = (0..CLIENTS).map(|_| fixture.allocate(LEN)).collect();
    let (end, refused, moved) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let answer = || drop(fixture.service.getCapabilities().expect("an answer"));
    let idle = p99(200, answer);
    disk.suspend();
    thread::scope(|scope| {
        let _resumes = Resumes(&disk);
        let _ends = Ends(&end);
        for buffer in &buffers {
            let (end, refused, fixture, hanging) = (&end, &refused, &fixture, &hanging);
            scope.spawn(move || {
                let mut pause = Duration::from_millis(100);
                while !end.load(Ordering::Relaxed) {
                    let file = File::open(hanging).expect("open");
                    let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, LEN)]);
                    match fixture.service.transfer(&load) {
                        Ok(_) => return assert!(end.load(Ordering::Relaxed), "it stands still"),
                        Err(status) => {
                            // One user has room for 16. The others come again, as clients do.
                            assert_eq!(status.exception_code(), ex::SERVICE_SPECIFIC);
                            let code = status.service_specific_error();
                            assert_eq!(code, Code::QUOTA_EXCEEDED.0, "{}", describe(&status));
                            refused.fetch_add(1, Ordering::Relaxed);
                            sleep(pause);
                            pause = (pause * 2).min(Duration::from_secs(4));
                        }
                    }
                }
            });
        }
        for _ in 0..BATCHES {
            let (end, moved, fixture) = (&end, &moved, &fixture);
            let load = (&buffer, whole.as_path(), GIB);
            scope.spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    wait(&submit_transfer(fixture, load));
                    moved.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let start = Instant::now();
        let full = || {
            let dump = fixture.dump(&[]);
            let batches = dump.lines().any(|line| line == format!("batches: {BATCHES}"));
            batches && dump.matches(": transfer uid=").count() == 16
        };
        while !full() {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", fixture.dump(&[]));
            sleep(Duration::from_millis(10));
        }
        let loaded = p99(200, answer);
        let dumps = [&[][..], &["--json"]].map(|args| p99(20, || drop(fixture.dump(args))));
        println!("getCapabilities p99 {loaded:?} (idle {idle:?}), goal {QUICK:?}");
        println!("dump p99 {dumps:?}, goal {DUMP:?}");
        println!(
            "meanwhile {} batches of 1 GiB, {} requests refused",
            moved.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed)
        );
        assert!(full(), "not all of them were in flight: {}", fixture.dump(&[]));
        assert!(loaded < QUICK, "getCapabilities {loaded:?}");
        assert!(dumps.iter().all(|time| *time < DUMP), "dump {dumps:?}");
    });
}

#[test]
fn poll_sees_the_end_of_a_batch_as_soon_as_a_call_does() {
    const LEN: i64 = 4 << 20;
    let fixture = Fixture::new();
    let (path, _) = fixture.file("short", LEN as usize);
    let buffer = fixture.allocate(LEN);
    let mut late: Vec<Duration> = (0..31)
        .map(|_| {
            make_cold(&path);
            let transfer = submit_transfer(&fixture, (&buffer, &path, LEN));
            let asked = thread::scope(|scope| {
                let asks = scope.spawn(|| {
                    while !transfer.getProgress().expect("progress").ended {}
                    Instant::now()
                });
                wait(&transfer);
                let polled = Instant::now();
                polled.saturating_duration_since(asks.join().expect("no panic"))
            });
            asked
        })
        .collect();
    let median = percentile(&mut late, 50);
    println!("poll later than getProgress: median {median:?}, p90 {:?}", percentile(&mut late, 90));
    assert!(median < SEEN, "{late:?}");
}

#[test]
fn load_by_submit_costs_what_a_blocking_one_costs() {
    const BUFFERS: i64 = 8;
    const SIZE: i64 = 64 << 20;
    let fixture = Fixture::new();
    let path = big_file(fixture.dir.path(), (BUFFERS * SIZE) as u64);
    let item = |i: i64| LoadItem { size: SIZE, extents: list(&[(i * SIZE, 0, SIZE)]) };
    let load = || LoadRequest {
        file: Some(pfd(File::open(&path).expect("open").into())),
        items: (0..BUFFERS).map(item).collect(),
        ..Default::default()
    };
    let blocking = || {
        let items = fixture.service.load(&load()).expect("load").items;
        assert!(items.iter().all(|item| item.error == 0));
    };
    let submitted = || {
        let batch = SubmitRequest { loads: vec![load()], ..Default::default() };
        let transfer = fixture.service.submit(&batch).expect("submit");
        wait(&transfer);
        let items = &transfer.getResult().expect("the end").loads[0].items;
        assert!(items.iter().all(|item| item.error == 0));
    };
    let time = |load: &dyn Fn()| {
        // Buffers of the last one are free.
        fixture.held_buffers(0, &Default::default());
        let start = Instant::now();
        load();
        start.elapsed().as_secs_f64()
    };
    time(&blocking);
    let mut ratios: Vec<f64> = (0..21)
        .map(|round| {
            // None is always the first.
            let (blocking, submitted) = match round % 2 {
                0 => (time(&blocking), time(&submitted)),
                _ => {
                    let submitted = time(&submitted);
                    (time(&blocking), submitted)
                }
            };
            submitted / blocking
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("submit over blocking: median {median:.3} of {ratios:.3?}, goal {SUBMIT}");
    assert!(median <= SUBMIT, "{median:.3}");
}

//! Batches on the kernel's binder: everything of `support/submit_suite.rs`, and what only a disk
//! that takes its time, or stops, can show.

#![allow(missing_docs, reason = "test code")]

#[path = "support/submit_suite.rs"]
mod suite;
mod support;

use binder_shim::{describe, ex, pfd, Strong};
use rustix::fs::OFlags;
use rustix::io::write;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use suite::{result, submit, transfers, wait};
use support::fixture::{duplicate, expect, request, Fixture};
use support::slow_disk::SlowDisk;
use support::victim::{self, Victims};
use support::{file, is_patched, open, read_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, Error::Error as Code, ITransfer::ITransfer,
};

/// The file on the slow disk.
const LEN: usize = 48 << 20;

fn is(transfer: &Strong<dyn ITransfer>, code: Code) {
    let item = &result(transfer).transfers[0];
    assert_eq!(item.error, code.0, "{}", item.message);
}

/// A batch that loads the whole file at `path`, and its buffer.
fn load(fixture: &Fixture, path: &Path) -> (Strong<dyn ITransfer>, Buffer) {
    let buffer = fixture.allocate(LEN as i64);
    let source = File::open(path).expect("open");
    let fd = Some(pfd(duplicate(&buffer.fd)));
    let batch = transfers(vec![request(fd, source, &[(0, 0, LEN as i64)])]);
    (submit(fixture, &batch), buffer)
}

fn wait_for_no_batches(fixture: &Fixture, patience: Duration) {
    let start = Instant::now();
    while fixture.dumped("batches: ") != "0" {
        assert!(start.elapsed() < patience, "{}", fixture.dumped("batches: "));
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn cancelled_batch_ends_within_a_piece_and_changes_nothing_afterwards() {
    let fixture = Fixture::new();
    // Where the page cache reads, it waits for each window of readahead.
    let (delay, patience) = if is_patched() { (60, 200) } else { (2, 2000) };
    let disk = SlowDisk::mount(fixture.dir.path(), delay);
    let content = Random::new(7).bytes(LEN);
    let path = file(&disk.path, "slow", &content);
    let (transfer, buffer) = load(&fixture, &path);
    let status = transfer.getResult().expect_err("it runs");
    expect(&status, ex::SERVICE_SPECIFIC, "the batch has not ended");
    assert_eq!(status.service_specific_error(), Code::BUSY.0);
    let start = Instant::now();
    let mut last = 0;
    while last == 0 {
        let progress = transfer.getProgress().expect("progress");
        assert!(progress.bytes >= last && progress.totalBytes == LEN as i64 && !progress.ended);
        last = progress.bytes;
        assert!(start.elapsed() < Duration::from_secs(30), "nothing moves");
        sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    transfer.cancel().expect("cancel");
    assert!(wait(&transfer, Duration::from_secs(30)), "the batch does not end");
    let time = start.elapsed();
    let fd = duplicate(&buffer.fd);
    let then = read_buffer(fd.as_fd(), fixture.heap, LEN);
    println!("cancelled after {last} bytes: ended after {time:?}");
    assert!(time < Duration::from_millis(patience), "{time:?}");
    is(&transfer, Code::CANCELLED);
    let progress = transfer.getProgress().expect("progress");
    assert!(progress.ended && progress.bytes < LEN as i64, "{progress:?}");
    let moved = progress.bytes as usize;
    assert!(then[..moved] == content[..moved] && then[moved..].iter().all(|byte| *byte == 0));
    sleep(Duration::from_millis(500));
    assert!(read_buffer(fd.as_fd(), fixture.heap, LEN) == then, "the buffer has changed");
}

#[test]
fn control_calls_answer_at_once_while_batches_hang() {
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 0);
    let path = file(&disk.path, "hanging", &Random::new(8).bytes(LEN));
    disk.suspend();
    let batches: Vec<_> = (0..8).map(|_| load(&fixture, &path).0).collect();
    // Another user's batches would come in; so do this one's other requests.
    assert_eq!(fixture.service.transfer(&fixture.valid()).expect("another disk").bytes, 65_536);
    let quick_within = |bound: Duration, what: &str, call: &dyn Fn()| {
        let mut times: Vec<Duration> = (0..100)
            .map(|_| {
                let start = Instant::now();
                call();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{what}: p50 {:?}, p99 {:?}", times[50], times[98]);
        assert!(times[98] < bound, "{what}: {times:?}");
    };
    let quick = |what: &str, call: &dyn Fn()| quick_within(Duration::from_millis(50), what, call);
    quick("getCapabilities", &|| drop(fixture.service.getCapabilities().expect("answer")));
    quick("getProgress", &|| assert!(!batches[0].getProgress().expect("answer").ended));
    quick("getResult", &|| {
        let status = batches[7].getResult().expect_err("it hangs");
        assert_eq!(status.service_specific_error(), Code::BUSY.0, "{}", describe(&status));
    });
    // A pipe takes 64 KiB, so nobody has to read meanwhile. The goal is 100 ms; the emulated CPUs may
    // take longer, and a dump that waits for the disk takes for ever.
    for args in [&[][..], &["--json"], &["--client", "0"]] {
        quick_within(Duration::from_millis(500), "dump", &|| drop(fixture.dump(args)));
    }
    let text = fixture.dump(&[]);
    assert_eq!(text.matches(": submit uid=0 normal, ").count(), 8, "{text}");
    assert!(text.contains(&format!(", moves, 0 of {LEN} bytes after ")), "{text}");
    assert!(!text.contains("hanging"), "a file name: {text}");
    quick("cancel", &|| batches[0].cancel().expect("answer"));
    batches.iter().for_each(|batch| batch.cancel().expect("answer"));
    assert!(batches.iter().any(|batch| !wait(batch, Duration::ZERO)), "none hangs");
    disk.resume();
    batches.iter().for_each(|batch| is(batch, Code::CANCELLED));
    drop(batches);
    wait_for_no_batches(&fixture, Duration::from_secs(5));
}

#[test]
fn dropped_batch_ends() {
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 60);
    let path = file(&disk.path, "dropped", &Random::new(9).bytes(LEN));
    let batches: Vec<_> = (0..4).map(|_| load(&fixture, &path)).collect();
    assert_eq!(fixture.dumped("batches: "), "4");
    drop(batches);
    wait_for_no_batches(&fixture, Duration::from_secs(10));
}

#[test]
fn batches_of_a_client_that_is_killed_end() {
    let fixture = Fixture::new();
    if let Some(path) = victim::path() {
        let batches: Vec<_> = (0..4).map(|_| load(&fixture, &path)).collect();
        victim::is_at_work();
        sleep(Duration::from_secs(60));
        drop(batches);
        return;
    }
    let disk = SlowDisk::mount(fixture.dir.path(), 60);
    let path = file(&disk.path, "killed", &Random::new(10).bytes(LEN));
    let victims = Victims::start("batches_of_a_client_that_is_killed_end", &path, 1);
    assert_eq!(fixture.dumped("batches: "), "4");
    victims.kill();
    let start = Instant::now();
    wait_for_no_batches(&fixture, Duration::from_secs(10));
    println!("the batches of a dead client are gone after {:?}", start.elapsed());
}

#[test]
fn completion_that_its_client_fills_does_not_stop_the_service() {
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 60);
    let path = file(&disk.path, "hostile", &Random::new(11).bytes(LEN));
    let (transfer, _buffer) = load(&fixture, &path);
    let completion = transfer.getCompletion().expect("a descriptor");
    let completion: OwnedFd = duplicate(&Some(completion));
    // The client can open the other end of a pipe that it holds, and fill it.
    let own = format!("/proc/self/fd/{}", completion.as_raw_fd());
    let writer = open(Path::new(&own), OFlags::WRONLY | OFlags::NONBLOCK);
    while write(&writer, &[0; 4096]).is_ok() {}
    transfer.cancel().expect("cancel");
    let start = Instant::now();
    while !transfer.getProgress().expect("progress").ended {
        assert!(start.elapsed() < Duration::from_secs(10), "the batch does not end");
        sleep(Duration::from_millis(5));
    }
}

//! Files that a user-space daemon serves (FUSE) and does not answer for, or answers for slowly: what
//! becomes of the request, of everybody else's, and of what the service held for it.
//!
//! A program of its own, because it counts what the service has left.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{ex, pfd};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::fixture::{duplicate, expect, list, request, Fixture};
use support::fuse::FuseFile;
use support::{read_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Error::Error as Code, FallbackReason::FallbackReason, LoadItem::LoadItem,
    LoadRequest::LoadRequest, StreamRequest::StreamRequest, TransferRequest::TransferRequest,
};

/// How long the service waits for a sign of life.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service has room for two such requests of one user, so tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the service holds.
#[derive(Debug, PartialEq)]
struct Held {
    request_threads: usize,
    descriptors: usize,
    /// In the whole system.
    dma_bufs: usize,
}

impl Held {
    /// Once no thread rests after its request any more.
    fn at_rest(fixture: &Fixture) -> Self {
        let start = Instant::now();
        loop {
            let held = Self::by(fixture);
            if held.request_threads == 0 {
                return held;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "still there: {held:?}");
            sleep(Duration::from_millis(10));
        }
    }

    fn by(fixture: &Fixture) -> Self {
        let tasks = fs::read_dir(format!("/proc/{}/task", fixture.pid())).expect("its threads");
        let names = tasks.flatten().flat_map(|task| fs::read_to_string(task.path().join("comm")));
        let buffers = fs::read_dir("/sys/kernel/dmabuf/buffers").expect("dma-buf statistics");
        Self {
            request_threads: names.filter(|name| name == "request\n").count(),
            descriptors: fixture.descriptors().len(),
            dma_bufs: buffers.count(),
        }
    }
}

/// Waits until the service holds what it held before, which must not take long.
fn expect_nothing_left(fixture: &Fixture, before: &Held) {
    let start = Instant::now();
    while Held::by(fixture) != *before {
        let now = Held::by(fixture);
        assert!(start.elapsed() < Duration::from_secs(5), "left: {now:?}, before: {before:?}");
        sleep(Duration::from_millis(10));
    }
    assert_eq!(fixture.dumped("requests given up that have not ended: "), "0");
}

/// The time of a load of an ordinary file: the shortest of many, which other work on the machine
/// has lengthened least.
fn ordinary_load(fixture: &Fixture) -> Duration {
    const LEN: i64 = 1 << 20;
    let (path, _) = fixture.file("ordinary", LEN as usize);
    let load = request(fixture.allocate(LEN).fd, File::open(path).expect("open"), &[(0, 0, LEN)]);
    let time = |_| {
        let start = Instant::now();
        assert_eq!(fixture.service.transfer(&load).expect("load").bytes, LEN);
        start.elapsed()
    };
    (0..50).map(time).min().expect("a shortest one")
}

#[test]
fn stalled_file_system_times_out_holds_up_nobody_else_and_leaves_nothing() {
    let _alone = alone();
    let fixture = Fixture::new();
    let without = ordinary_load(&fixture);
    let before = Held::at_rest(&fixture);
    let stalling = FuseFile::stalling(fixture.dir.path());
    let open = || File::open(&stalling.path).expect("open the stalling file");
    let stalled_load = || request(fixture.allocate(65_536).fd, open(), &[(0, 0, 65_536)]);
    let expect_busy = |load: &TransferRequest| {
        let status = fixture.service.transfer(load).expect_err("a third of one user");
        expect(&status, ex::SERVICE_SPECIFIC, "2 requests of this user");
        assert_eq!(status.service_specific_error(), Code::BUSY.0);
    };
    thread::scope(|scope| {
        let start = Instant::now();
        let (load, service) = (stalled_load(), fixture.service.clone());
        let transfer = scope.spawn(move || service.transfer(&load).map(drop));
        let (file, service) = (pfd(open().into()), fixture.service.clone());
        let probe = scope.spawn(move || service.probe(&file, &list(&[(0, 0, 1)])).map(drop));
        while fixture.dumped("requests running: ") != "2" {
            assert!(start.elapsed() < PATIENCE / 2, "the requests do not wait");
            sleep(Duration::from_millis(10));
        }
        expect_busy(&stalled_load());
        let with = ordinary_load(&fixture);
        println!("ordinary load: {without:?}, beside stalled ones {with:?}");
        // Who is held up waits for seconds; what else runs on the machine may double the time.
        assert!(with < without * 4, "{without:?}, now {with:?}");
        let early = transfer.is_finished() || probe.is_finished();
        assert!(!early, "given up after {:?}", start.elapsed());
        for stalled in [transfer, probe] {
            let status = stalled.join().expect("no panic").expect_err("no answer");
            expect(
                &status,
                ex::SERVICE_SPECIFIC,
                "file: its file system made no progress for 10 s",
            );
            assert_eq!(status.service_specific_error(), Code::TIMED_OUT.0);
            let time = start.elapsed();
            assert!(time >= PATIENCE && time < PATIENCE * 3 / 2, "given up after {time:?}");
        }
    });
    assert_eq!(fixture.dumped("requests given up that have not ended: "), "2");
    expect_busy(&stalled_load());
    drop(stalling);
    expect_nothing_left(&fixture, &before);
}

#[test]
fn load_whose_file_stalls_returns_what_is_filled() {
    let _alone = alone();
    const LEN: usize = 128 << 10;
    let fixture = Fixture::new();
    fixture.service.transfer(&fixture.valid()).expect("a first load");
    let before = Held::at_rest(&fixture);
    let content = Random::new(3).bytes(2 * LEN);
    let stalling = FuseFile::stalling_after(fixture.dir.path(), &content);
    let item = |i| LoadItem { size: LEN as i64, extents: list(&[(i * LEN as i64, 0, LEN as i64)]) };
    let load = LoadRequest {
        file: Some(pfd(File::open(&stalling.path).expect("open").into())),
        items: (0..4).map(item).collect(),
        ..Default::default()
    };
    let items = fixture.service.load(&load).expect("partial results").items;
    let parts = content.chunks(LEN).map(Some).chain([None, None]);
    assert_eq!(items.len(), 4);
    for (item, part) in items.into_iter().zip(parts) {
        let Some(part) = part else {
            assert_eq!(item.error, Code::TIMED_OUT.0, "{}", item.message);
            assert!(item.buffer.is_none() && item.receipt.is_none());
            continue;
        };
        assert_eq!((item.error, item.message.as_str()), (0, ""));
        let receipt = item.receipt.expect("a receipt");
        assert_eq!((receipt.bytes, receipt.bytesBuffered), (LEN as i64, LEN as i64));
        assert_eq!(receipt.firstFallback, FallbackReason::FILE_SYSTEM_STALLS);
        let fd = duplicate(&item.buffer.expect("a buffer").fd);
        assert!(read_buffer(fd.as_fd(), fixture.heap, LEN) == part, "the buffer differs");
    }
    assert_eq!(Held::by(&fixture).request_threads, 1);
    drop((load, stalling));
    expect_nothing_left(&fixture, &before);
}

#[test]
fn slow_file_system_is_served_to_the_end() {
    let _alone = alone();
    let fixture = Fixture::new();
    let content = Random::new(4).bytes(160 << 10);
    let slow = FuseFile::slow(fixture.dir.path(), &content, Duration::from_millis(300));
    let buffer = fixture.allocate(content.len() as i64);
    let file = File::open(&slow.path).expect("open the slow file");
    let extent = (0, 0, content.len() as i64);
    let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[extent]);
    let start = Instant::now();
    assert_eq!(fixture.service.transfer(&load).expect("load").bytes, content.len() as i64);
    let time = start.elapsed();
    assert!(time > PATIENCE, "{time:?} shows nothing");
    let filled = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, content.len());
    assert!(filled == content, "the buffer differs");
}

#[test]
fn stream_whose_file_stalls_hands_out_what_came_and_ends_with_the_daemon() {
    let _alone = alone();
    const FRAME: usize = 128 << 10;
    let fixture = Fixture::new();
    fixture.service.transfer(&fixture.valid()).expect("a first load");
    let before = Held::at_rest(&fixture);
    let content = Random::new(5).bytes(2 * FRAME);
    let stalling = FuseFile::stalling_after(fixture.dir.path(), &content);
    let stream_request = StreamRequest {
        file: Some(pfd(File::open(&stalling.path).expect("open").into())),
        frameBytes: FRAME as i64,
        bufferCount: 4,
        ..Default::default()
    };
    let stream = fixture.service.openStream(&stream_request, &[]).expect("a stream");
    let start = Instant::now();
    for part in content.chunks(FRAME) {
        let frame = loop {
            match stream.next() {
                Ok(frame) => break frame,
                Err(status) => assert_eq!(status.service_specific_error(), Code::BUSY.0),
            }
            assert!(start.elapsed() < Duration::from_secs(5), "no frame");
            sleep(Duration::from_millis(5));
        };
        let buffers = stream.getBuffers().expect("the ring");
        let fd = duplicate(&buffers[frame.index as usize].fd);
        assert!(read_buffer(fd.as_fd(), fixture.heap, FRAME) == part, "the frame differs");
    }
    sleep(Duration::from_millis(200));
    let status = stream.next().expect_err("the daemon is silent");
    assert_eq!(status.service_specific_error(), Code::BUSY.0);
    drop(stream);
    sleep(Duration::from_millis(200));
    assert_eq!(fixture.dumped("streams: "), "1", "its thread waits for the daemon");
    assert_eq!(fixture.service.transfer(&fixture.valid()).expect("a load").bytes, 65_536);
    drop((stream_request, stalling));
    expect_nothing_left(&fixture, &before);
    assert_eq!(fixture.dumped("streams: "), "0");
}

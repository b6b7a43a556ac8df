//! How soon a client sees the end of a batch, and what a batch costs beside a blocking load.
//!
//! Emulated CPUs are slower than those of a phone: the goals are printed, and the bounds have room.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{borrow, describe, pfd, Strong};
use dmabufio_core::sys::mmap::{Access, Mapping};
use rustix::event::{poll, PollFd, PollFlags};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::{duplicate, failed_with, list, request, Fixture};
use support::{big_file, make_cold, read_buffer};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, Error::Error as Code, ITransfer::ITransfer, LoadItem::LoadItem,
    LoadRequest::LoadRequest, SubmitRequest::SubmitRequest,
};

/// What may lie between the last byte of a batch and the moment when poll says that it has ended.
const SEEN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(10));

/// How much a load by submit may take, where a blocking one takes 1.
const SUBMIT: (f64, f64) = (1.02, 1.1);

/// Submits a load of a whole buffer. The room of a batch before is free a moment after its end.
fn submit_transfer(
    fixture: &Fixture,
    (buffer, path, len): (&Buffer, &Path, i64),
) -> Strong<dyn ITransfer> {
    let file = File::open(path).expect("open");
    let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, len)]);
    let batch = SubmitRequest { transfers: vec![load], ..Default::default() };
    loop {
        match fixture.service.submit(&batch) {
            Ok(transfer) => return transfer,
            Err(status) if failed_with(&status, Code::QUOTA_EXCEEDED) => {
                sleep(Duration::from_millis(1))
            }
            Err(status) => panic!("{}", describe(&status)),
        }
    }
}

fn wait(transfer: &Strong<dyn ITransfer>) {
    let completion = transfer.getCompletion().expect("a descriptor");
    let completion = borrow(&completion);
    let mut fds = [PollFd::new(&completion, PollFlags::IN)];
    assert_eq!(poll(&mut fds, 60_000), Ok(1), "the batch does not end");
}

#[test]
fn poll_sees_the_end_of_a_batch_at_once() {
    const LEN: usize = 4 << 20;
    const LAST: usize = LEN - 1;
    let fixture = Fixture::new();
    let (path, content) = fixture.file("short", LEN);
    let buffer = fixture.allocate(LEN as i64);
    let memory = duplicate(&buffer.fd);
    let mut mapping = Mapping::new(memory.as_fd(), 0, LEN, Access::ReadWrite).expect("map");
    let mut times: Vec<Duration> = (0..31)
        .map(|_| {
            make_cold(&path);
            mapping.write(LAST, &[!content[LAST]]).expect("write a buffer");
            let transfer = submit_transfer(&fixture, (&buffer, &path, LEN as i64));
            // The disk has done its work when the last byte is there. The service does not know yet.
            let submitted = Instant::now();
            let last = &mut [0];
            while last != &content[LAST..] {
                mapping.read(LAST, last).expect("read a buffer");
                assert!(submitted.elapsed() < Duration::from_secs(60), "the last byte is missing");
            }
            let there = Instant::now();
            wait(&transfer);
            there.elapsed()
        })
        .collect();
    assert!(read_buffer(memory.as_fd(), fixture.heap, LEN) == content);
    times.sort_unstable();
    println!("seen by poll within {times:?}, median {:?}, goal {:?}", times[15], SEEN.0);
    assert!(times[15] < SEEN.1, "{times:?}");
}

#[test]
fn load_by_submit_costs_what_a_blocking_one_costs() {
    const BUFFERS: i64 = 4;
    const SIZE: i64 = 64 << 20;
    const PAIRS: usize = 31;
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
        // The buffers of the last one are free.
        fixture.held_buffers(0, &Default::default());
        let start = Instant::now();
        load();
        start.elapsed().as_secs_f64()
    };
    time(&blocking);
    let mut ratios: Vec<f64> = (0..PAIRS)
        .map(|round| {
            // None is always the first.
            let first = (round % 2 == 1).then(|| time(&submitted));
            let blocking = time(&blocking);
            first.unwrap_or_else(|| time(&submitted)) / blocking
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[PAIRS / 2];
    println!("submit over blocking: {ratios:.3?}, median {median:.3}, goal {}", SUBMIT.0);
    assert!(median < SUBMIT.1, "{median:.3}");
}

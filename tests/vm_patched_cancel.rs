//! How soon a cancelled batch ends on a disk of 100 MB/s, wherever it was: in its first, long turn,
//! or in those that have adapted to the disk.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{borrow, pfd};
use rustix::event::{poll, PollFd, PollFlags};
use std::fs::File;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::{duplicate, request, Fixture};
use support::{file, make_cold, read_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{Error::Error as Code, SubmitRequest::SubmitRequest};

/// More than the disk moves in the longest pause.
const LEN: usize = 64 << 20;

/// The time until nothing changes the buffer any more.
const BOUND: Duration = Duration::from_millis(200);

#[test]
fn cancelled_batch_ends_within_200_ms() {
    let fixture = Fixture::new();
    let content = Random::new(17).bytes(LEN);
    let path = file(fixture.dir.path(), "cancelled", &content);
    let mut random = Random::new(18);
    let mut times: Vec<(Duration, i64)> = (0..15)
        .map(|_| {
            make_cold(&path);
            let buffer = fixture.allocate(LEN as i64);
            let load = request(
                Some(pfd(duplicate(&buffer.fd))),
                File::open(&path).expect("open"),
                &[(0, 0, LEN as i64)],
            );
            let batch = SubmitRequest { transfers: vec![load], ..Default::default() };
            let transfer = fixture.service.submit(&batch).expect("submit");
            let completion = transfer.getCompletion().expect("a descriptor");
            let completion = borrow(&completion);
            sleep(Duration::from_millis(20 + random.below(400)));
            let start = Instant::now();
            transfer.cancel().expect("cancel");
            let mut fds = [PollFd::new(&completion, PollFlags::IN)];
            assert_eq!(poll(&mut fds, 30_000), Ok(1), "the batch does not end");
            let time = start.elapsed();
            let then = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, LEN);
            let item = &transfer.getResult().expect("the end").transfers[0];
            assert_eq!(item.error, Code::CANCELLED.0, "{}", item.message);
            let moved = transfer.getProgress().expect("progress").bytes;
            let (loaded, rest) = then.split_at(moved as usize);
            assert!(*loaded == content[..moved as usize] && rest.iter().all(|byte| *byte == 0));
            (time, moved)
        })
        .collect();
    times.sort_unstable();
    println!("from cancel to the end, and bytes moved: {times:?}, goal {BOUND:?}");
    assert!(times.iter().all(|(time, _)| *time < BOUND), "{times:?}");
}

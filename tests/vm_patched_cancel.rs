//! How soon a cancelled batch ends on a disk of 100 MB/s, in whatever turn it was, and that its buffer
//! does not change afterwards.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{borrow, pfd, Strong};
use rustix::event::{poll, PollFd, PollFlags};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::{duplicate, request, Fixture};
use support::{file, make_cold, read_buffer, write_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, Error::Error as Code, ITransfer::ITransfer, SubmitRequest::SubmitRequest,
};

/// More than the disk moves in the longest pause.
const LEN: usize = 64 << 20;

const CANCELS: usize = 12;

/// The longest time from the cancellation until poll sees the end.
const GOAL: Duration = Duration::from_millis(200);

/// Where the test fails: the emulated CPUs add to the time of the disk.
const BOUND: Duration = GOAL.saturating_mul(2);

/// A batch that loads the whole file.
fn load(fixture: &Fixture, path: &Path, buffer: &Buffer) -> Strong<dyn ITransfer> {
    let source = File::open(path).expect("open");
    let fd = Some(pfd(duplicate(&buffer.fd)));
    let load = request(fd, source, &[(0, 0, LEN as i64)]);
    let batch = SubmitRequest { transfers: vec![load], ..Default::default() };
    fixture.service.submit(&batch).expect("submit")
}

/// Cancels batches at random times, each beside `others` that go on.
fn cancel(others: usize) {
    let fixture = Fixture::new();
    let content = Random::new(17).bytes(LEN);
    let path = file(fixture.dir.path(), "cancelled", &content);
    let buffers: Vec<_> = (0..=others).map(|_| fixture.allocate(LEN as i64)).collect();
    let fd = duplicate(&buffers[0].fd);
    let mut random = Random::new(18);
    let mut times: Vec<(Duration, u64)> = (0..CANCELS)
        .map(|_| {
            make_cold(&path);
            // Or what an earlier round has loaded would hide a late change.
            write_buffer(fd.as_fd(), fixture.heap, &vec![0; LEN]);
            let others: Vec<_> = buffers[1..].iter().map(|b| load(&fixture, &path, b)).collect();
            let transfer = load(&fixture, &path, &buffers[0]);
            let completion = transfer.getCompletion().expect("a descriptor");
            let completion = borrow(&completion);
            let pause = random.below(400);
            sleep(Duration::from_millis(pause));
            let start = Instant::now();
            transfer.cancel().expect("cancel");
            let mut fds = [PollFd::new(&completion, PollFlags::IN)];
            assert_eq!(poll(&mut fds, 30_000), Ok(1), "the batch does not end");
            let time = start.elapsed();
            let item = &transfer.getResult().expect("the end").transfers[0];
            assert_eq!(item.error, Code::CANCELLED.0, "{}", item.message);
            let moved = transfer.getProgress().expect("progress").bytes as usize;
            let then = read_buffer(fd.as_fd(), fixture.heap, LEN);
            assert!(moved < LEN && then[..moved] == content[..moved], "{moved} bytes differ");
            // As long as the turn in flight would take if it went on.
            sleep(GOAL);
            let now = read_buffer(fd.as_fd(), fixture.heap, LEN);
            assert!(now == then, "the buffer has changed after the end");
            drop(others);
            (time, pause)
        })
        .collect();
    times.sort_unstable();
    let (median, longest) = (times[CANCELS / 2].0, times[CANCELS - 1].0);
    println!("beside {others}: {median:?} from cancel to the end, at most {longest:?}: {times:?}");
    println!("goal for each: {GOAL:?}, {}", if longest < GOAL { "reached" } else { "missed" });
    assert!(longest < BOUND, "{longest:?}");
}

#[test]
fn cancelled_batch_ends_soon() {
    cancel(0);
}

#[test]
fn cancelled_batch_beside_another_ends_soon() {
    cancel(1);
}

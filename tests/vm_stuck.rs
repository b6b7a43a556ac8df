//! A read that hangs in the kernel where no signal reaches it, on an ordinary file system: a client
//! that tortures its own file does that with the lock of the inode, and a broken disk by itself.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::ex;
use rustix::fs::{fadvise, Advice};
use std::fs::File;
use std::os::fd::AsFd;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::fixture::{duplicate, expect, request, Fixture};
use support::slow_disk::SlowDisk;
use support::{file, read_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::Error::Error as Code;

const LEN: usize = 1 << 20;

#[test]
fn hanging_read_times_out_bounds_its_user_and_ends_with_the_disk() {
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 0);
    let content = Random::new(6).bytes(LEN);
    let path = file(&disk.path, "hanging", &content);
    let source = File::open(&path).expect("open");
    fadvise(&source, 0, 0, Advice::DontNeed).expect("fadvise");
    let load = || {
        let file = source.try_clone().expect("dup");
        request(fixture.allocate(LEN as i64).fd, file, &[(0, 0, LEN as i64)])
    };
    let loads = [load(), load()];
    let later = load();
    disk.suspend();
    thread::scope(|scope| {
        let start = Instant::now();
        let hanging = loads.map(|load| {
            let service = fixture.service.clone();
            scope.spawn(move || service.transfer(&load).map(drop))
        });
        for hanging in hanging {
            let status = hanging.join().expect("no panic").expect_err("the disk stands still");
            expect(&status, ex::SERVICE_SPECIFIC, "file: no progress for 60 s");
            assert_eq!(status.service_specific_error(), Code::TIMED_OUT.0);
        }
        let time = start.elapsed();
        assert!(time < Duration::from_secs(75), "given up after {time:?}");
    });
    let status = fixture.service.transfer(&later).expect_err("two requests hang");
    expect(&status, ex::SERVICE_SPECIFIC, "2 requests of this user made no progress");
    assert_eq!(status.service_specific_error(), Code::BUSY.0);
    disk.resume();
    let start = Instant::now();
    while fixture.service.transfer(&later).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the requests have not ended");
        sleep(Duration::from_millis(20));
    }
    let buffer = duplicate(&later.buffer);
    assert!(read_buffer(buffer.as_fd(), fixture.heap, LEN) == content, "the buffer differs");
}

//! How users and priorities share a disk.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, lookup_within, pfd, Strong};
use dmabufio_wire::INSTANCE;
use std::env;
use std::fs::File;
use std::io::{stdin, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::ends::Ends;
use support::fixture::{duplicate, request, Fixture};
use support::{file, make_cold, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, IDmabufIo::IDmabufIo, Priority::Priority,
};

/// The file on the slow disk.
const LEN: i64 = 64 << 20;

/// Tells the test program that it is the other user, whose standard input is the file.
const OTHER: &str = "DMABUFIO_TEST_OTHER_USER";

/// Loads the first `len` bytes of a file until `end`, and counts the bytes in `moved`.
fn load_until(
    end: &AtomicBool,
    service: &Strong<dyn IDmabufIo>,
    source: &File,
    (len, priority): (i64, Priority),
    moved: &AtomicI64,
) {
    let desc = BufferDesc { size: len, tag: "fair".to_owned() };
    let buffer = service.allocate(&desc).unwrap_or_else(|status| panic!("{}", describe(&status)));
    while !end.load(Ordering::Relaxed) {
        let source = source.try_clone().expect("dup");
        let mut load = request(Some(pfd(duplicate(&buffer.fd))), source, &[(0, 0, len)]);
        load.priority = priority;
        let receipt =
            service.transfer(&load).unwrap_or_else(|status| panic!("{}", describe(&status)));
        assert_eq!((receipt.bytes, receipt.bytesDirect), (len, len));
        moved.fetch_add(len, Ordering::Relaxed);
    }
}

/// Loads with several threads, and says when the first load is done and how much there was after a
/// while.
fn be_the_other_user() {
    let service: Strong<dyn IDmabufIo> =
        lookup_within(INSTANCE, Duration::from_secs(10)).expect("the service");
    let source: OwnedFd = stdin().as_fd().try_clone_to_owned().expect("dup");
    let source = File::from(source);
    let (end, moved) = (AtomicBool::new(false), AtomicI64::new(0));
    thread::scope(|scope| {
        let _ends = Ends(&end);
        for _ in 0..4 {
            scope
                .spawn(|| load_until(&end, &service, &source, (4 << 20, Priority::NORMAL), &moved));
        }
        while moved.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(5));
        }
        let before = moved.load(Ordering::Relaxed);
        println!("\nbegin");
        sleep(Duration::from_secs(8));
        println!("\nmoved {}", moved.load(Ordering::Relaxed) - before);
    });
}

#[test]
fn user_with_16_threads_leaves_another_its_half_of_the_disk() {
    if env::var_os(OTHER).is_some() {
        return be_the_other_user();
    }
    let fixture = Fixture::new();
    let path = file(fixture.dir.path(), "shared", &Random::new(31).bytes(LEN as usize));
    make_cold(&path);
    let source = File::open(&path).expect("open");
    let (end, moved) = (AtomicBool::new(false), AtomicI64::new(0));
    let (of_one, of_other) = thread::scope(|scope| {
        let _ends = Ends(&end);
        for _ in 0..16 {
            let (end, fixture, source, moved) = (&end, &fixture, &source, &moved);
            scope.spawn(|| {
                load_until(end, &fixture.service, source, (4 << 20, Priority::NORMAL), moved);
            });
        }
        let test = "user_with_16_threads_leaves_another_its_half_of_the_disk";
        let wrapper = env::var("DMABUFIO_UNPRIVILEGED").expect("xtask vm says how");
        let mut words = wrapper.split(' ');
        let mut other = Command::new(words.next().expect("a program"))
            .args(words)
            .arg(env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(OTHER, "")
            .stdin(File::open(&path).expect("open"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the other user");
        let lines = BufReader::new(other.stdout.take().expect("its output")).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line == "begin"), "the other user has loaded nothing");
        let before = moved.load(Ordering::Relaxed);
        let of_other = lines.find_map(|line| line.strip_prefix("moved ")?.parse::<i64>().ok());
        let of_one = moved.load(Ordering::Relaxed) - before;
        assert!(other.wait().expect("wait").success());
        (of_one, of_other.expect("a number"))
    });
    let share = of_other as f64 / (of_one + of_other) as f64;
    println!("16 threads moved {} MiB, 4 of another user {} MiB", of_one >> 20, of_other >> 20);
    assert!((0.45..=0.55).contains(&share), "the share of the other user is {share}");
}

#[test]
fn interactive_load_beside_background_ones_takes_half_as_long_again_at_most() {
    let fixture = Fixture::new();
    let path = file(fixture.dir.path(), "shared", &Random::new(32).bytes(LEN as usize));
    make_cold(&path);
    let source = File::open(&path).expect("open");
    let service = &fixture.service;
    let median = || {
        let buffer = fixture.allocate(LEN);
        let mut times = [(); 5].map(|()| {
            let source = source.try_clone().expect("dup");
            let mut load = request(Some(pfd(duplicate(&buffer.fd))), source, &[(0, 0, LEN)]);
            load.priority = Priority::INTERACTIVE;
            let start = Instant::now();
            assert_eq!(service.transfer(&load).expect("load").bytesDirect, LEN);
            start.elapsed()
        });
        times.sort_unstable();
        times[2]
    };
    let idle = median();
    let (end, moved) = (AtomicBool::new(false), AtomicI64::new(0));
    let (loaded, background) = thread::scope(|scope| {
        let _ends = Ends(&end);
        for _ in 0..4 {
            scope.spawn(|| {
                load_until(&end, service, &source, (8 << 20, Priority::BACKGROUND), &moved);
            });
        }
        sleep(Duration::from_secs(2));
        let before = moved.load(Ordering::Relaxed);
        let loaded = median();
        (loaded, moved.load(Ordering::Relaxed) - before)
    });
    println!("64 MiB take {idle:?} alone, {loaded:?} beside {} MiB", background >> 20);
    assert!(loaded <= idle * 3 / 2, "{idle:?} alone, {loaded:?} beside background loads");
    assert!(background > 0, "the background loads stand still");
}

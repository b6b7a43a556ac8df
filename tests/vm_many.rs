//! Clients that want more than there is: threads, memory, the writer of a dump.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, dump_remote, ex, pfd, Status};
use rustix::fs::{fadvise, Advice};
use rustix::pipe::{fcntl_setpipe_size, pipe};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::fixture::{duplicate, expect, failed_with, request, Fixture};
use support::percentiles::Percentiles;
use support::slow_disk::SlowDisk;
use support::{file, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, BufferDesc::BufferDesc, Error::Error as Code,
};

/// One test at a time: each takes all that there is of something.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn control_calls_answer_at_once_while_64_clients_load_from_a_slow_disk() {
    const LEN: i64 = 1 << 20;
    let _alone = alone();
    let fixture = Fixture::new();
    let disk = SlowDisk::mount(fixture.dir.path(), 1000);
    let path = file(&disk.path, "slow", &Random::new(5).bytes(LEN as usize));
    let (end, loads, busy) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let idle = Percentiles::of_control_calls(&fixture);
    let loaded = thread::scope(|scope| {
        for client in 0..64 {
            let (end, path, fixture, loads, busy) = (&end, &path, &fixture, &loads, &busy);
            scope.spawn(move || {
                let mut random = Random::new(client);
                let mut pause = Duration::from_millis(500);
                let file = File::open(path).expect("open");
                let buffer = loop {
                    let desc = BufferDesc { size: LEN, tag: "many".to_owned() };
                    match fixture.service.allocate(&desc) {
                        Ok(buffer) => break buffer,
                        Err(status) => {
                            assert!(
                                failed_with(&status, Code::QUOTA_EXCEEDED),
                                "{}",
                                describe(&status)
                            );
                        }
                    }
                    sleep(Duration::from_millis(20));
                };
                while !end.load(Ordering::Relaxed) {
                    // Clients do not arrive all at the same moment.
                    sleep(Duration::from_millis(random.below(500)));
                    fadvise(&file, 0, 0, Advice::DontNeed).expect("fadvise");
                    let file = file.try_clone().expect("dup");
                    let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, LEN)]);
                    match fixture.service.transfer(&load) {
                        Ok(receipt) => {
                            assert_eq!(receipt.bytes, LEN);
                            loads.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(status) => {
                            expect(&status, ex::SERVICE_SPECIFIC, "16 requests of this user run");
                            assert!(
                                failed_with(&status, Code::QUOTA_EXCEEDED),
                                "{}",
                                describe(&status)
                            );
                            busy.fetch_add(1, Ordering::Relaxed);
                            sleep(pause);
                            pause = (pause * 2).min(Duration::from_secs(8));
                        }
                    }
                }
            });
        }
        sleep(Duration::from_secs(5));
        let loaded = Percentiles::of_control_calls(&fixture);
        end.store(true, Ordering::Relaxed);
        loaded
    });
    let (loads, busy) = (loads.into_inner(), busy.into_inner());
    println!("getCapabilities idle {idle:?}, loaded {loaded:?}; {loads} loads, {busy} refused");
    assert!(loads >= 32 && busy > 0, "{loads} loads, {busy} refused");
    // The scheduler lets a running thread finish its slice of 3 ms. The emulated CPUs are so slow
    // that both ways of a call meet such threads now and then. In the queue of binder, behind the
    // requests, a call would wait for the disk: for seconds.
    let (goal, bound) = (Duration::from_millis(5), Duration::from_millis(50));
    println!("goal for p99: {goal:?}, {}", if loaded.p99 < goal { "reached" } else { "missed" });
    assert!(loaded.p99 < bound, "{loaded:?}, idle {idle:?}");
}

/// Allocates until the service refuses, and returns the buffers and the refusal.
fn allocate_all(fixture: &Fixture) -> (Vec<Buffer>, Status) {
    let desc = BufferDesc { size: 64 << 20, tag: "greedy".to_owned() };
    let mut buffers = Vec::new();
    loop {
        match fixture.service.allocate(&desc) {
            Ok(buffer) => buffers.push(buffer),
            Err(status) => return (buffers, status),
        }
        assert!(buffers.len() < 1000, "the memory has no end");
    }
}

/// Waits until the kernel has freed the memory of buffers that nobody holds any more.
fn wait_for_room(fixture: &Fixture) {
    let desc = BufferDesc { size: 64 << 20, tag: "modest".to_owned() };
    let start = Instant::now();
    while let Err(status) = fixture.service.allocate(&desc) {
        assert!(start.elapsed() < Duration::from_secs(5), "{}", describe(&status));
        sleep(Duration::from_millis(20));
    }
}

fn out_of_memory_kills() -> usize {
    let log = Command::new("dmesg").output().expect("dmesg").stdout;
    String::from_utf8_lossy(&log).matches("Out of memory").count()
}

#[test]
fn client_that_allocates_for_ever_exceeds_its_quota_and_harms_nobody() {
    let _alone = alone();
    let fixture = Fixture::new();
    let kills = out_of_memory_kills();
    let (own, status) = allocate_all(&fixture);
    assert!(failed_with(&status, Code::QUOTA_EXCEEDED), "{}", describe(&status));
    assert!(describe(&status).contains("this user holds "), "{}", describe(&status));
    assert!(own.len() > 8, "{} buffers", own.len());
    // A second service counts for itself, and so meets the end of the memory.
    let second = Fixture::start_unprivileged(&[]);
    let (mut others, status) = allocate_all(&second);
    assert!(failed_with(&status, Code::NO_MEMORY), "{}", describe(&status));
    assert!(describe(&status).contains("are available, of which"), "{}", describe(&status));
    println!("{} and {} buffers of 64 MiB", own.len(), others.len());
    // Other users go on, as soon as there is room: what is left now may be less than any file.
    drop(others.pop());
    wait_for_room(&second);
    let (path, _) = fixture.file("model", 1 << 20);
    let wrapper = std::env::var("DMABUFIO_UNPRIVILEGED").expect("xtask vm says how");
    let mut words = wrapper.split(' ').chain(["dmabufio", "load", "--verify"]);
    let load = Command::new(words.next().expect("a program")).args(words).arg(&path).output();
    let load = load.expect("run dmabufio");
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    drop((own, others));
    wait_for_room(&fixture);
    assert_eq!(out_of_memory_kills(), kills, "the kernel has killed somebody");
}

/// Starts a service as on a kernel without `CONFIG_DMABUF_SYSFS_STATS`, after the shell's `first`.
fn without_statistics(first: &str, options: &[&str]) -> Fixture {
    let hidden = "mount -t tmpfs none /sys/kernel/dmabuf && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{first} {hidden}"), Fixture::PROGRAM]);
    Fixture::run(command, options)
}

#[test]
fn small_buffers_leave_descriptors_to_requests_without_statistics() {
    let _alone = alone();
    let fixture = without_statistics("ulimit -n 128 &&", &[]);
    let buffers: Vec<_> = (0..256).map(|_| fixture.allocate(4096)).collect();
    assert_eq!(fixture.service.transfer(&fixture.valid()).expect("load").bytes, 65_536);
    drop(buffers);
    fixture.held_buffers(0, &HashSet::new());
}

#[test]
fn charge_ends_with_the_last_holder_of_the_buffer() {
    let _alone = alone();
    let quota = ["--quota", "all:bytes=64M,buffers=3", "--quota", "5:buffers=100"];
    for fixture in [Fixture::start(&quota), without_statistics("", &quota)] {
        let desc = BufferDesc { size: 32 << 20, tag: "charged".to_owned() };
        let refused = || {
            let status = fixture.service.allocate(&desc).map(drop).expect_err("the quota");
            assert!(failed_with(&status, Code::QUOTA_EXCEEDED), "{}", describe(&status));
            expect(&status, ex::SERVICE_SPECIFIC, "33554432 bytes: this user holds 2 buffers of");
        };
        let mut buffers: Vec<_> = (0..2).map(|_| fixture.allocate(32 << 20)).collect();
        refused();
        let last = buffers.pop().expect("two").fd;
        let another = duplicate(&last);
        drop(last);
        refused();
        // Not a word to the service: the kernel knows it.
        drop(another);
        let start = Instant::now();
        while let Err(status) = fixture.service.allocate(&desc) {
            assert!(start.elapsed() < Duration::from_secs(1), "{}", describe(&status));
            sleep(Duration::from_millis(5));
        }
        drop(buffers);
        // Nor does the service keep the memory of buffers that nobody has.
        fixture.held_buffers(0, &HashSet::new());
        let small: Vec<_> = (0..3).map(|_| fixture.allocate(4096)).collect();
        let status = fixture.service.allocate(&desc).map(drop).expect_err("three buffers");
        expect(&status, ex::SERVICE_SPECIFIC, "33554432 bytes: this user holds 3 buffers of 12288");
        drop(small);
    }
}

#[test]
fn dump_that_nobody_reads_stops_no_transfer() {
    let _alone = alone();
    let fixture = Fixture::new();
    let load = fixture.valid();
    let dumps: Vec<_> = (0..16)
        .map(|_| {
            let (reader, writer) = pipe().expect("pipe");
            fcntl_setpipe_size(&writer, 4096).expect("a small pipe");
            // Room for less than a dump.
            let room = 230;
            rustix::io::write(&writer, &vec![0; 4096 - room]).expect("fill");
            let mut binder = fixture.service.as_binder();
            (reader, thread::spawn(move || dump_remote(&mut binder, writer, &[]).is_ok()))
        })
        .collect();
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(fixture.service.transfer(&load).expect("load").bytes, 65_536);
    }
    let time = start.elapsed();
    assert!(time < Duration::from_secs(1), "ten loads took {time:?}");
    for (reader, dump) in dumps {
        // Nobody has read anything: the service gave up by itself.
        dump.join().expect("no panic");
        drop(reader);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let (reader, writer) = pipe().expect("pipe");
    dump_remote(&mut fixture.service.as_binder(), writer, &[]).expect("a dump afterwards");
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).expect("read");
    assert!(text.contains("transfers: "), "{text}");
}

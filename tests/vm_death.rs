//! The client library and a service that is killed, on kernel binder with dma-bufs. The service
//! manager starts the service again, for the client that looks for it.

#![allow(missing_docs, reason = "test code")]

#[path = "support/death_suite.rs"]
mod suite;
mod support;

use binder_shim::{describe, st};
use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use rustix::process::{kill_process, Pid, Signal};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use suite::Mortal;
use support::fixture::{duplicate, request};
use support::machine::{wait_for, Machine};
use support::slow_disk::SlowDisk;
use support::{file, read_buffer, scratch, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::BufferDesc::BufferDesc;

struct Managed {
    machine: Machine,
    dir: PathBuf,
}

impl Mortal for Managed {
    fn client(&self) -> Client {
        drop(self.machine.lookup());
        Client::service().expect("a client")
    }

    fn pid(&self) -> u32 {
        wait_for("the service", || self.machine.service_pid().is_some());
        self.machine.service_pid().expect("a service")
    }

    fn kill(&mut self, pid: u32) {
        let process = Pid::from_raw(pid as i32).expect("a process");
        kill_process(process, Signal::Kill).expect("kill");
        wait_for("its death", || self.machine.service_pid() != Some(pid));
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The next attempt may fill the buffer as soon as the client knows of the death.
fn kill_with_io_in_flight(managed: &mut Managed) {
    const LEN: usize = 8 << 20;
    let disk = SlowDisk::mount(managed.dir(), 1000);
    let path = file(&disk.path, "slow", &Random::new(3).bytes(LEN));
    let service = managed.machine.lookup();
    let desc = BufferDesc { size: LEN as i64, tag: "death".to_owned() };
    let buffer = service.allocate(&desc).expect("allocate").fd;
    let fd = duplicate(&buffer);
    let load = request(buffer, File::open(&path).expect("open"), &[(0, 0, LEN as i64)]);
    let client = Client::service().expect("a client");
    let (status, time) = thread::scope(|scope| {
        let call = scope.spawn(|| service.transfer(&load).expect_err("it dies"));
        let pid = managed.pid();
        wait_for("the I/O", || client.dump(&[]).expect("a dump").contains(", moves, 0 of"));
        let start = Instant::now();
        managed.kill(pid);
        (call.join().expect("no panic"), start.elapsed())
    });
    assert_eq!(status.transaction_error(), st::DEAD_OBJECT, "{}", describe(&status));
    let then = read_buffer(fd.as_fd(), Heap::System, LEN);
    println!("the death is known {time:?} after the signal");
    assert!(time > Duration::from_millis(100), "{time:?}: no I/O was in flight");
    sleep(Duration::from_millis(1500));
    assert!(read_buffer(fd.as_fd(), Heap::System, LEN) == then, "the buffer has changed");
}

#[test]
fn service_killed_on_kernel_binder_completes_each_call_once() {
    let machine = Machine::start(&[]);
    let files = scratch();
    // So that a load takes long enough to be met.
    let slow = SlowDisk::mount(files.path(), 30);
    let mut managed = Managed { machine, dir: slow.path.clone() };
    suite::kill_in_mid_load(&mut managed, 8);
    drop(slow);
    managed.dir = files.path().join("fast");
    fs::create_dir(&managed.dir).expect("mkdir");
    suite::kill_in_mixed_calls(&mut managed, 4);
    suite::kill_with_a_batch(&mut managed);
    kill_with_io_in_flight(&mut managed);
}

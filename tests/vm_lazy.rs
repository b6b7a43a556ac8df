//! The lazy service: that a look-up starts it, that it ends without clients, and what keeps it.
//!
//! It has a binder and a service manager of its own, in a mount namespace of its own: the VM's
//! service has the name.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{borrow, describe, dump_remote, lookup_within, Strong};
use dmabufio_core::heap::Heap;
use dmabufio_wire::INSTANCE;
use rustix::fs::OFlags;
use rustix::pipe::pipe;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::request;
use support::fuse::FuseFile;
use support::hungry::Hungry;
use support::machine::{run, wait_for, Machine};
use support::{open, scratch, write_buffer, Random};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, BufferDesc::BufferDesc, Direction::Direction, Error::Error as Code,
    IDmabufIo::IDmabufIo, TransferRequest::TransferRequest,
};

/// The service manager counts clients every 5 s: it does so twice in this time.
const TWO_COUNTS: Duration = Duration::from_secs(11);

/// Set to `load PATH` or `save PATH` in a process of this program that is only a client.
const CLIENT: &str = "DMABUFIO_TEST_CLIENT";

/// What clients transfer.
const LEN: usize = 1 << 20;

/// The size that the pool keeps, which is another one.
const POOLED: i64 = 2 << 20;

#[test]
fn lazy_service_comes_for_a_client_and_stays_for_clients_requests_and_a_warm_pool_only() {
    if let Ok(transfer) = env::var(CLIENT) {
        return act_as_client(&transfer);
    }
    let machine = Machine::start(&["--lazy", "--pool", &format!("{POOLED}:4")]);
    stays_for_a_client(&machine);
    stays_for_a_request_whose_client_has_died(&machine);
    stays_for_a_thread_that_a_file_system_stalls(&machine);
    stays_for_a_warm_pool(&machine);
    let log = fs::read_to_string(machine.log()).expect("the log of the service manager");
    assert_eq!(log.matches("finished: exit status: 0").count(), 4, "{log}");
}

fn stays_for_a_client(machine: &Machine) {
    assert_eq!(machine.service_pid(), None, "before anybody has asked for it");
    let service = machine.lookup();
    let pid = machine.service_pid().expect("a service");
    machine.expect_alive(pid, TWO_COUNTS);
    service.getCapabilities().expect("an answer");
    drop(service);
    machine.expect_end(pid);
}

fn stays_for_a_request_whose_client_has_died(machine: &Machine) {
    let frozen = Frozen::mount(machine.dir.path());
    let service = machine.lookup();
    let pid = machine.service_pid().expect("a service");
    let mut client = machine.client("save", &frozen.file());
    // An allocation comes before the save, and does not take that long.
    let mut since = Instant::now();
    wait_for("the save", || {
        if !dumped(&service, "requests running: 1") {
            since = Instant::now();
        }
        since.elapsed() > Duration::from_secs(2)
    });
    client.kill().and_then(|()| client.wait()).expect("kill the client");
    drop(service);
    machine.expect_alive(pid, TWO_COUNTS);
    frozen.thaw();
    machine.expect_end(pid);
    let saved = fs::read(frozen.file()).expect("read back");
    assert!(saved == Random::new(7).bytes(LEN), "the file is not what the client saved");
}

fn stays_for_a_thread_that_a_file_system_stalls(machine: &Machine) {
    let stalling = FuseFile::stalling(machine.dir.path());
    let service = machine.lookup();
    let pid = machine.service_pid().expect("a service");
    let mut client = machine.client("load", &stalling.path);
    // It gives up after 10 s and leaves the thread behind.
    assert!(client.wait().expect("wait").success(), "the client");
    assert!(dumped(&service, "requests running: 0") && dumped(&service, "that have not ended: 1"));
    drop(service);
    machine.expect_alive(pid, TWO_COUNTS);
    drop(stalling);
    machine.expect_end(pid);
}

fn stays_for_a_warm_pool(machine: &Machine) {
    let service = machine.lookup();
    let pid = machine.service_pid().expect("a service");
    allocate(&service, POOLED);
    wait_for("the pool", || dumped(&service, "4 of 4 ready"));
    drop(service);
    machine.expect_alive(pid, TWO_COUNTS);
    let _hungry = Hungry::start(machine.dir.path());
    machine.expect_end(pid);
}

/// Makes a request that is given up.
fn act_as_client(transfer: &str) {
    let (what, path) = transfer.split_once(' ').expect("what and where");
    let service: Strong<dyn IDmabufIo> =
        lookup_within(INSTANCE, Duration::from_secs(10)).expect("the service");
    let buffer = allocate(&service, LEN as i64).fd;
    let (direction, flags) = match what {
        "save" => (Direction::SAVE, OFlags::WRONLY),
        _ => (Direction::LOAD, OFlags::RDONLY),
    };
    let fd = buffer.as_ref().expect("a descriptor");
    write_buffer(borrow(fd), Heap::System, &Random::new(7).bytes(LEN));
    let file = open(Path::new(path), flags);
    let request = TransferRequest { direction, ..request(buffer, file, &[(0, 0, LEN as i64)]) };
    let status = service.transfer(&request).expect_err("nothing moves");
    assert_eq!(status.service_specific_error(), Code::TIMED_OUT.0, "{}", describe(&status));
}

fn allocate(service: &Strong<dyn IDmabufIo>, size: i64) -> Buffer {
    let desc = BufferDesc { size, tag: "test".to_owned() };
    service.allocate(&desc).expect("allocate")
}

/// Whether the service's dump has this text.
fn dumped(service: &Strong<dyn IDmabufIo>, text: &str) -> bool {
    let (reader, writer) = pipe().expect("pipe");
    dump_remote(&mut service.as_binder(), writer, &[]).expect("dump");
    let mut dump = String::new();
    File::from(reader).read_to_string(&mut dump).expect("read the dump");
    dump.contains(text)
}

impl Machine {
    /// A process that does what `what` says to a file, through the service.
    fn client(&self, what: &str, path: &Path) -> Child {
        Command::new(env::current_exe().expect("this program"))
            .env(CLIENT, format!("{what} {}", path.display()))
            // It says how many tests it has, and would be counted.
            .stdout(Stdio::null())
            .spawn()
            .expect("start a client")
    }

    fn expect_alive(&self, pid: u32, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert_eq!(self.service_pid(), Some(pid), "{:?}: {}", start.elapsed(), log());
            sleep(Duration::from_millis(100));
        }
    }

    fn expect_end(&self, pid: u32) {
        let start = Instant::now();
        while self.service_pid().is_some() {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(15), "still there: {}", log());
            sleep(Duration::from_millis(50));
        }
        // Nobody can start it before the service manager has reaped it.
        wait_for("its last trace", || !Path::new(&format!("/proc/{pid}")).exists());
        println!("ended after {:?}", start.elapsed());
    }
}

/// A file system that lets nobody write until it is thawed.
struct Frozen(PathBuf);

impl Frozen {
    fn mount(parent: &Path) -> Self {
        let (disk, path) = (scratch().keep().join("disk"), parent.join("frozen"));
        fs::create_dir(&path).expect("mkdir");
        File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("a disk");
        let paths = (disk.to_string_lossy(), path.to_string_lossy());
        run("mkfs.ext4", &["-q", &paths.0]);
        run("mount", &["-o", "loop", &paths.0, &paths.1]);
        let frozen = Self(path);
        fs::write(frozen.file(), vec![0; LEN]).expect("write a file");
        run("fsfreeze", &["--freeze", &frozen.0.to_string_lossy()]);
        frozen
    }

    fn file(&self) -> PathBuf {
        self.0.join("file")
    }

    fn thaw(&self) {
        run("fsfreeze", &["--unfreeze", &self.0.to_string_lossy()]);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Whoever waits for it could not be ended. It is thawed already where nothing failed.
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).output();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

//! The client library and a service that is killed, on this host over a Unix socket with the
//! embedded heap.

#![allow(missing_docs, reason = "test code")]

#[path = "support/death_suite.rs"]
mod suite;
mod support;

use dmabufio_client::Client;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;
use suite::Mortal;
use support::fixture::Fixture;
use support::scratch;
use tempfile::TempDir;

/// A service that starts again at once.
struct Supervised {
    dir: TempDir,
    child: Child,
}

impl Supervised {
    fn start() -> Self {
        let dir = scratch();
        let child = start(dir.path());
        Self { dir, child }
    }
}

fn start(dir: &Path) -> Child {
    Command::new(Fixture::PROGRAM)
        .env("RUST_LOG", "error")
        .args(["--heap", "memfd", "--socket"])
        .arg(dir.join("socket"))
        .spawn()
        .expect("start the service")
}

impl Mortal for Supervised {
    fn client(&self) -> Client {
        for _ in 0..250 {
            if let Ok(client) = Client::socket(&self.dir.path().join("socket")) {
                return client;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("the service does not answer within 5 s");
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill(&mut self, pid: u32) {
        assert_eq!(pid, self.child.id());
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        self.child = start(self.dir.path());
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One test at a time: one counts the descriptors of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn service_killed_in_mid_load_100_times_completes_each_load_once() {
    let _alone = alone();
    suite::kill_in_mid_load(&mut Supervised::start(), 100);
}

#[test]
fn service_killed_at_any_time_completes_each_call_once() {
    let _alone = alone();
    suite::kill_in_mixed_calls(&mut Supervised::start(), 20);
}

#[test]
fn batch_of_a_killed_service_says_so_and_can_be_submitted_again() {
    let _alone = alone();
    suite::kill_with_a_batch(&mut Supervised::start());
}

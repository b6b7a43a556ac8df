//! A binder and a service manager of a test's own, in a mount namespace of its own: on the VM's
//! binder, the VM's service has the name. The service manager starts the service for a client that
//! looks for it. For the VM, as root.

use super::fixture::Fixture;
use binder_shim::{lookup_within, Strong};
use dmabufio_wire::INSTANCE;
use rustix::thread::{unshare, UnshareFlags};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::IDmabufIo::IDmabufIo;

pub fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(15), "{what}: not within 15 s");
        sleep(Duration::from_millis(50));
    }
}

pub fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    assert!(status.as_ref().is_ok_and(|s| s.success()), "{program} {args:?}: {status:?}");
}

/// The binder of the thread that starts it, and of the threads that this one starts. One in a
/// process.
pub struct Machine {
    hub: Child,
    pub dir: TempDir,
}

impl Machine {
    /// With a service that has these arguments.
    pub fn start(args: &[&str]) -> Self {
        unshare(UnshareFlags::NEWNS).expect("a mount namespace");
        run("mount", &["--make-rprivate", "/"]);
        run("mount", &["-t", "binder", "binder", "/dev/binderfs"]);
        // The service manager trusts no program in a folder that others can write to.
        let dir = TempDir::new_in("/run/dmabufio").expect("a folder");
        let program = dir.path().join("service");
        fs::copy(Fixture::PROGRAM, &program).expect("copy the service");
        let mut exec = vec![program.to_string_lossy().into_owned()];
        exec.extend(args.iter().map(|&arg| arg.to_owned()));
        let config = format!(
            "[global]\nlist = {{ user = [\"root\"] }}\n\
             [[rule]]\nname = \"vendor.dmabufio.*\"\n\
             add = {{ user = [\"root\"] }}\nfind = {{ user = [\"root\"] }}\n\
             [[service]]\nname = \"{INSTANCE}\"\n\
             start = {{ exec = {exec:?} }}\n"
        );
        let hub_dir = dir.path().join("hub.d");
        fs::create_dir(&hub_dir).expect("mkdir");
        fs::write(hub_dir.join("dmabufio.toml"), config).expect("write the rules");
        let log = File::create(dir.path().join("log")).expect("a log");
        let hub = Command::new("rsb_hub")
            .arg("--config")
            .arg(&hub_dir)
            .env("RUST_LOG", "info")
            .stdout(log.try_clone().expect("dup"))
            .stderr(log)
            .spawn()
            .expect("start the service manager");
        let machine = Self { hub, dir };
        wait_for("the service manager", || {
            Command::new("rsb_service").arg("list").output().is_ok_and(|out| out.status.success())
        });
        machine
    }

    /// What the service manager and the service say.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn lookup(&self) -> Strong<dyn IDmabufIo> {
        lookup_within(INSTANCE, Duration::from_secs(15)).unwrap_or_else(|status| {
            panic!("{status:?}: {}", fs::read_to_string(self.log()).unwrap_or_default())
        })
    }

    /// The process of the service, unless it has ended or is about to.
    pub fn service_pid(&self) -> Option<u32> {
        let program = self.dir.path().join("service");
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
                && !status.contains("State:\tZ")
        };
        let entries = fs::read_dir("/proc").expect("processes").flatten();
        let mut pids = entries.flat_map(|entry| entry.file_name().to_string_lossy().parse());
        pids.find(is_it)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.hub.kill().and_then(|()| self.hub.wait());
        if let Some(pid) = self.service_pid() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

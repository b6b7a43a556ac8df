//! The SELinux policy of `sepolicy/vendor`, enforced: `cargo xtask vm --selinux`. A domain with the right passes every
//! step to a loaded buffer; one without is refused at each, and the kernel's log says why.
//!
//! A step runs as this program once more, in a copy that is labelled as the program of the domain. What has to be refused
//! runs in a thread of the name that `cargo xtask vm` does not count as a denial.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, lookup_within, pfd, Strong};
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_wire::INSTANCE;
use rustix::fs::{fgetxattr, ftruncate, memfd_create, setxattr, MemfdFlags, XattrFlags};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{stdin, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, Direction::Direction, Extent::Extent, IDmabufIo::IDmabufIo,
    TransferRequest::TransferRequest,
};

const LEN: usize = 65_536;
/// `vm/selinux.sh` labels the test disk with this type.
const TEST_FILE: &str = "app_data_file";
const SERVICE: &str = "hal_vendor_dmabufio_default";
/// The thread name that `cargo xtask vm` knows.
const REFUSED: &str = "refused";
/// What makes this program take the step that `SELINUX_STEP` names.
const STEP: [&str; 3] = ["--exact", "client_passes_every_step", "--nocapture"];

#[test]
fn service_and_tests_have_domains_of_their_own() {
    let domain = |pid: &str| {
        let context = fs::read_to_string(format!("/proc/{pid}/attr/current")).expect("context");
        context.trim_matches(['\0', '\n', ' ']).to_owned()
    };
    let service = env::var("DMABUFIO_SERVICE_PID").expect("the service's process");
    assert_eq!(domain(&service), format!("u:r:{SERVICE}:s0"));
    assert_eq!(domain("self"), "u:r:su:s0");
    assert_eq!(fs::read_to_string("/sys/fs/selinux/enforce").expect("enforce"), "1");
}

/// In a copy of this program that [`run`] starts, one step and nothing else.
#[test]
fn client_passes_every_step() {
    if let Ok(step) = env::var("SELINUX_STEP") {
        return take_in_thread(step);
    }
    let dir = support::scratch();
    for step in ["open_heap", "call", "load_file", "load_snapshot"] {
        let output = run("system_server", step, false, dir.path());
        assert!(output.status.success(), "{step}: {}", text(&output));
    }
}

/// With the option of `sepolicy/system_ext`, whose policy the VM has.
#[test]
fn snapshot_with_a_type_of_its_own_is_saved() {
    let dir = support::scratch();
    let output = run("system_server", "save_snapshot", false, dir.path());
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn isolated_app_may_not_open_the_heap() {
    refused("isolated_app", "open_heap");
    denied("{ read }", "isolated_app", "dmabuf_system_heap_device", "chr_file");
}

#[test]
fn domain_that_is_no_client_may_not_call() {
    refused("surfaceflinger", "call");
    denied("{ call }", "surfaceflinger", SERVICE, "binder");
}

#[test]
fn service_may_not_write_what_a_client_opened_for_more_than_reading() {
    refused("system_server", "load_writable_snapshot");
    denied("{ write }", SERVICE, "system_data_file", "file");
}

#[test]
fn service_may_not_use_what_an_isolated_app_opened() {
    program("system_server");
    refused("isolated_app", "pass_on_descriptor");
    denied("{ use }", SERVICE, "isolated_app", "fd");
}

/// What Android's service manager asks the kernel. That of the VM, `rsb_hub`, does not ask.
#[test]
fn service_manager_hears_who_may_find_and_who_may_register() {
    let label = include_str!("../sepolicy/vendor/service_contexts")
        .lines()
        .find_map(|line| line.strip_prefix(INSTANCE))
        .expect("a label for the service")
        .trim();
    let answers = |domain: &str| {
        ["find", "add"].map(|permission| may(domain, label, "service_manager", permission))
    };
    assert_eq!(answers(SERVICE), [true, true]);
    for client in ["system_server", "cameraserver", "dumpstate", "su"] {
        assert_eq!(answers(client), [true, false], "{client}");
    }
    for other in ["untrusted_app", "platform_app", "isolated_app", "surfaceflinger", "shell"] {
        assert_eq!(answers(other), [false, false], "{other}");
    }
}

/// The kernel's answer to the question that a user-space object manager asks.
fn may(domain: &str, target: &str, class: &str, permission: &str) -> bool {
    let root = Path::new("/sys/fs/selinux");
    let class = root.join("class").join(class);
    let number = |path: PathBuf| -> u32 {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().parse().expect("a number")
    };
    let bit = 1_u32 << (number(class.join("perms").join(permission)) - 1);
    let question = format!("u:r:{domain}:s0 {target} {} {bit:x}", number(class.join("index")));
    let mut access = OpenOptions::new()
        .read(true)
        .write(true)
        .open(root.join("access"))
        .expect("open selinuxfs");
    access.write_all(question.as_bytes()).unwrap_or_else(|e| panic!("{question}: {e}"));
    let mut answer = String::new();
    access.read_to_string(&mut answer).expect("an answer");
    let allowed = answer.split_whitespace().next().expect("what is allowed");
    u32::from_str_radix(allowed, 16).expect("a number") & bit != 0
}

/// Runs a step that has to fail.
fn refused(domain: &str, step: &str) {
    let dir = support::scratch();
    let output = run(domain, step, true, dir.path());
    assert_eq!(output.status.code(), Some(101), "{domain} {step}: {}", text(&output));
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    parts.concat()
}

/// Checks that the kernel logged this denial.
fn denied(permission: &str, source: &str, target: &str, class: &str) {
    let log = Command::new("dmesg").output().expect("read the kernel's log");
    let log = String::from_utf8_lossy(&log.stdout);
    let found = log.lines().filter(|line| line.contains("comm=\"refused\"")).any(|line| {
        [
            permission,
            &format!("scontext=u:r:{source}:s0"),
            &format!(":{target}:s0"),
            &format!("tclass={class} permissive=0"),
        ]
        .iter()
        .all(|part| line.contains(part))
    });
    assert!(found, "no denial {permission} of {source} on {target}:{class} in the log:\n{log}");
}

/// Runs a step in a domain.
fn run(domain: &str, step: &str, refused: bool, dir: &Path) -> Output {
    Command::new(program(domain))
        .args(STEP)
        .env("SELINUX_STEP", step)
        .env("SELINUX_DIR", dir)
        .env("SELINUX_THREAD", if refused { REFUSED } else { "allowed" })
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("run {step} as {domain}: {e}"))
}

/// A copy of this program that runs in `domain`.
fn program(domain: &str) -> PathBuf {
    static COPIES: OnceLock<TempDir> = OnceLock::new();
    let copies = COPIES.get_or_init(|| TempDir::new_in("/run/dmabufio").expect("a folder"));
    let path = copies.path().join(domain);
    if !path.exists() {
        let unfinished = path.with_extension(format!("{:?}", thread::current().id()));
        // Not in this process: another test's child would hold it open for writing, and it could not be run.
        let this = env::current_exe().expect("this program");
        let copied = Command::new("cp").arg(this).arg(&unfinished).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy this program");
        let label = format!("u:object_r:{domain}_exec:s0\0");
        setxattr(&unfinished, "security.selinux", label.as_bytes(), XattrFlags::empty())
            .unwrap_or_else(|e| panic!("label a program {label}: {e}"));
        fs::rename(unfinished, &path).expect("name the copy");
    }
    path
}

/// One step, in the domain of the program that runs it.
fn take_in_thread(step: String) {
    let dir = PathBuf::from(env::var_os("SELINUX_DIR").expect("a folder"));
    let thread = thread::Builder::new().name(env::var("SELINUX_THREAD").expect("a thread's name"));
    let done = thread.spawn(move || take(&step, &dir)).expect("a thread").join();
    if let Err(why) = done.expect("no panic") {
        panic!("{why}");
    }
}

fn take(step: &str, dir: &Path) -> Result<(), String> {
    let path = dir.join("file");
    match step {
        "open_heap" => {
            let heap = Allocator::open(Heap::System).map_err(|e| e.to_string())?;
            heap.allocate(LEN as u64).map(drop).map_err(|e| e.to_string())
        }
        "call" => service()?.getCapabilities().map(drop).map_err(|s| describe(&s)),
        "load_file" => load(file(&path, TEST_FILE, true)?),
        "load_snapshot" => load(file(&path, "system_data_file", false)?),
        "load_writable_snapshot" => load(file(&path, "system_data_file", true)?),
        "save_snapshot" => save_snapshot(dir),
        "pass_on_descriptor" => {
            let file = memfd_create("isolated", MemfdFlags::CLOEXEC).expect("memfd");
            ftruncate(&file, LEN as u64).expect("truncate");
            let client = env::current_exe().expect("this program").with_file_name("system_server");
            let child = Command::new(client)
                .args(STEP)
                .env("SELINUX_STEP", "load_stdin")
                .stdin(file)
                .output()
                .map_err(|e| e.to_string())?;
            if child.status.success() {
                Ok(())
            } else {
                Err(text(&child))
            }
        }
        "load_stdin" => load(stdin().as_fd().try_clone_to_owned().expect("dup")),
        _ => Err(format!("no step {step}")),
    }
}

/// A file of that type.
fn file(path: &Path, label: &str, writable: bool) -> Result<OwnedFd, String> {
    fs::write(path, [7; LEN]).map_err(|e| e.to_string())?;
    let label = format!("u:object_r:{label}:s0\0");
    setxattr(path, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .map_err(|e| format!("label {}: {e}", path.display()))?;
    let file = OpenOptions::new().read(true).write(writable).open(path);
    // su removes what is left, and may not touch a file of system_server.
    fs::remove_file(path).map_err(|e| e.to_string())?;
    Ok(file.map_err(|e| e.to_string())?.into())
}

/// Saves a buffer to a file in a folder that is made as system_server makes that of its snapshots.
fn save_snapshot(dir: &Path) -> Result<(), String> {
    let user = dir.join("user");
    fs::create_dir(&user).map_err(|e| e.to_string())?;
    let label = b"u:object_r:system_data_file:s0\0";
    setxattr(&user, "security.selinux", label, XattrFlags::empty())
        .map_err(|e| format!("label a folder: {e}"))?;
    let snapshots = user.join("snapshots");
    fs::create_dir(&snapshots).map_err(|e| e.to_string())?;
    let path = snapshots.join("1.snapshot");
    let file = fs::File::create(&path).map_err(|e| e.to_string())?;

    let mut label = [0; 64];
    let len = fgetxattr(&file, "security.selinux", &mut label).map_err(|e| e.to_string())?;
    assert_eq!(&label[..len], b"u:object_r:dmabufio_snapshot_data_file:s0\0");
    let saved = transfer(file.into(), Direction::SAVE);
    let stored = fs::read(&path).map_err(|e| e.to_string())?;
    // su removes what is left, and may not touch a file of system_server.
    fs::remove_dir_all(&user).map_err(|e| e.to_string())?;
    saved?;
    assert_eq!(stored, vec![0; LEN]);
    Ok(())
}

fn service() -> Result<Strong<dyn IDmabufIo>, String> {
    lookup_within(INSTANCE, Duration::from_secs(10)).map_err(|status| describe(&status))
}

fn load(file: OwnedFd) -> Result<(), String> {
    transfer(file, Direction::LOAD)
}

fn transfer(file: OwnedFd, direction: Direction) -> Result<(), String> {
    let service = service()?;
    let desc = BufferDesc { size: LEN as i64, tag: "selinux".to_owned() };
    let buffer = service.allocate(&desc).map_err(|status| describe(&status))?;
    let request = TransferRequest {
        buffer: buffer.fd,
        file: Some(pfd(file)),
        extents: vec![Extent { fileOffset: 0, bufferOffset: 0, length: LEN as i64 }],
        direction,
        ..Default::default()
    };
    let receipt = service.transfer(&request).map_err(|status| describe(&status))?;
    assert_eq!(receipt.bytes, LEN as i64);
    Ok(())
}

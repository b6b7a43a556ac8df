//! `dmabufio doctor` in the VM: the verdict and the fix on machines that lack something, and the facts about the UFS
//! device.

#![allow(missing_docs, reason = "test code")]

use flate2::read::GzDecoder;
use serde_json::Value;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const DOCTOR: &str = env!("CARGO_BIN_EXE_dmabufio");

/// What doctor said.
struct Report {
    status: Option<i32>,
    json: Value,
}

impl Report {
    /// From a command that runs it.
    fn from(command: &mut Command) -> Self {
        let output = command.output().expect("run dmabufio");
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { status: output.status.code(), json }
    }

    fn of(path: &Path, more: &[&str]) -> Self {
        Self::from(Command::new(DOCTOR).args(["doctor", "--json", "--path"]).arg(path).args(more))
    }

    /// The findings on a subject that are as bad as `verdict`.
    fn find(&self, subject: &str, verdict: &str) -> Vec<&Value> {
        let findings = self.json["findings"].as_array().expect("findings").iter();
        findings.filter(|one| one["subject"] == subject && one["verdict"] == verdict).collect()
    }

    /// Checks that the only complaint on a subject is `verdict`, with this in its fix.
    fn complains(&self, subject: &str, verdict: &str, fix: &str) {
        let found = self.find(subject, verdict);
        let [one] = found.as_slice() else {
            panic!("not one '{verdict}' for {subject}: {:#}", self.json);
        };
        assert!(one["fix"].as_str().is_some_and(|text| text.contains(fix)), "{one:#}");
    }

    /// Checks the verdict and the exit status, which denials in the log of a machine with SELinux may worsen.
    fn concludes(&self, status: i32, verdict: &str) {
        if self.find("denials", "slow").is_empty() {
            assert_eq!(self.status, Some(status), "{:#}", self.json);
            assert_eq!(self.json["verdict"], verdict);
        }
    }
}

fn disk() -> PathBuf {
    env::var_os("DMABUFIO_TEST_DIR").expect("the VM's disk").into()
}

/// What direct I/O into a buffer needs, and this machine has.
enum Route {
    Ioctl,
    Module,
    None,
}

fn route() -> Route {
    let of_vm = |variable| env::var(variable).expect("a variable of the VM");
    if of_vm("DMABUFIO_KERNEL") != "stock" {
        Route::Ioctl
    } else if of_vm("DMABUFIO_MODULE").is_empty() {
        Route::None
    } else {
        Route::Module
    }
}

#[test]
fn full_machine_is_well_and_one_without_direct_io_is_slow() {
    let report = Report::of(&disk(), &[]);
    let config = |group: &str, verdict| {
        let found = report.find("kernel config", verdict);
        assert!(found.iter().any(|one| one["group"] == group), "{group}: {:#}", report.json);
    };
    config("necessary", "ok");
    match route() {
        Route::Ioctl => {
            config("recommended", "ok");
            let [heap] = &report.find("heap system", "ok")[..] else { panic!("{:#}", report.json) };
            assert!(heap["text"].as_str().is_some_and(|text| text.contains("attached buffers")));
            report.concludes(0, "info");
        }
        Route::Module => {
            report.complains("kernel config", "info", "CONFIG_DMABUF_RW_FILE");
            for subject in ["heap system-direct", "service"] {
                assert_eq!(report.find(subject, "ok").len(), 1, "{subject}: {:#}", report.json);
            }
            report.concludes(0, "info");
        }
        Route::None => {
            config("recommended", "slow");
            report.complains("kernel config", "slow", "CONFIG_DMABUF_RW_FILE");
            report.complains("heap system", "slow", "kernel/module");
            report.complains("heap system", "slow", "CONFIG_DMABUF_RW_FILE");
            report.complains("service", "slow", "DMA_BUF_IOCTL_RW_FILE");
            report.concludes(1, "slow");
        }
    }
}

#[test]
fn machine_without_the_heap_is_broken() {
    // In a mount namespace of its own there is no heap.
    let script = "mount -t tmpfs none /dev/dma_heap && exec \"$0\" doctor --json --path \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, DOCTOR]).arg(disk());
    let report = Report::from(&mut command);
    report.complains("heap system", "broken", "CONFIG_DMABUF_HEAPS_SYSTEM");
    assert_eq!((report.status, &report.json["verdict"]), (Some(2), &Value::from("broken")));
}

#[test]
fn kernel_configuration_without_the_heap_is_broken() {
    let mut config = String::new();
    let running = File::open("/proc/config.gz").expect("the kernel's configuration");
    GzDecoder::new(running).read_to_string(&mut config).expect("gzip");
    let other = TempDir::new_in(disk()).expect("a folder");
    let file = other.path().join("config");
    // As a merged configuration has it: Kconfig takes the last line.
    let off = "# CONFIG_DMABUF_HEAPS_SYSTEM is not set\n";
    fs::write(&file, format!("{config}{off}")).expect("write");
    let report = Report::of(&disk(), &["--config", file.to_str().expect("UTF-8")]);
    report.complains("kernel config", "broken", "CONFIG_DMABUF_HEAPS_SYSTEM=y");
    assert_eq!(report.status, Some(2));
}

/// What doctor says where a file is in place of the kernel's configuration.
fn with_configuration(file: &Path) -> Report {
    let script = "mount --bind \"$1\" /proc/config.gz && exec \"$0\" doctor --json --path \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, DOCTOR]).arg(file).arg(disk());
    Report::from(&mut command)
}

#[test]
fn configuration_of_another_kernel_does_not_make_a_machine_broken() {
    let dir = TempDir::new_in(disk()).expect("a folder");
    let file = dir.path().join("config");
    // None of the options that are asked for.
    fs::write(&file, "# CONFIG_DMABUF_HEAPS is not set\nCONFIG_64BIT=y\n").expect("write");
    let report = with_configuration(&file);
    let found = report.find("kernel config", "ok");
    let one = found.iter().find(|one| one["group"] == "necessary");
    let text = one.and_then(|one| one["text"].as_str()).unwrap_or_default();
    assert!(
        text.contains("the kernel shows CONFIG_DMA_SHARED_BUFFER, CONFIG_DMABUF_HEAPS"),
        "{text}"
    );
    match route() {
        Route::Ioctl | Route::Module => report.concludes(0, "info"),
        Route::None => {
            // The kernel shows all others.
            report.complains("kernel config", "slow", "CONFIG_DMABUF_RW_FILE=y");
            report.concludes(1, "slow");
        }
    }
}

#[test]
fn kernel_is_asked_where_its_configuration_cannot_be_read() {
    let dir = TempDir::new_in(disk()).expect("a folder");
    let file = dir.path().join("config");
    fs::write(&file, "").expect("write");
    let report = with_configuration(&file);
    let found = report.find("kernel config", "info");
    let [one] = found.as_slice() else { panic!("{:#}", report.json) };
    assert_eq!(
        one["text"],
        "/proc/config.gz: no kernel configuration; the running kernel was asked instead"
    );
    assert!(one["fix"].as_str().is_some_and(|fix| fix.contains("--config")), "{one:#}");
    let necessary = report.find("kernel", "ok");
    assert!(necessary.iter().any(|one| one["group"] == "necessary"), "{:#}", report.json);
    match route() {
        Route::Ioctl | Route::Module => report.concludes(0, "info"),
        Route::None => {
            report.complains("kernel", "slow", "CONFIG_DMABUF_RW_FILE");
            report.concludes(1, "slow");
        }
    }
}

#[test]
fn largest_buffer_of_udmabuf_is_its_limit_and_the_setting_is_named() {
    const LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";
    let limit = fs::read_to_string(LIMIT).expect("the limit");
    let mib: u64 = limit.trim().parse().expect("a number");
    let report = Report::of(&disk(), &["--local", "--heap", "udmabuf"]);
    let found = report.find("heap udmabuf", "info");
    let text = found[0]["text"].as_str().expect("text");
    assert!(text.contains(&format!("buffers up to {mib}.0 MiB")) && text.contains(LIMIT), "{text}");

    let dir = TempDir::new_in(disk()).expect("a folder");
    let file = dir.path().join("large");
    let larger = File::create(&file).and_then(|file| file.set_len((mib << 20) + 1));
    larger.expect("a sparse file");
    let mut load = Command::new(DOCTOR);
    let output = load.arg("load").arg(&file).args(["--local", "--heap", "udmabuf"]).output();
    let output = output.expect("run dmabufio");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = format!("more than the {} bytes that udmabuf allows; raise {LIMIT}", mib << 20);
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn file_system_without_inline_encryption_is_slow() {
    let without = F2fs::mount("noatime");
    let report = Report::of(&without.place, &[]);
    report.complains("encryption", "slow", "inlinecrypt");
    report.concludes(1, "slow");

    let with = F2fs::mount("inlinecrypt");
    let report = Report::of(&with.place, &[]);
    assert_eq!(report.find("encryption", "ok").len(), 1, "{:#}", report.json);
}

/// A file system that encrypts, in a file on the disk.
struct F2fs {
    _dir: TempDir,
    place: PathBuf,
}

impl F2fs {
    fn mount(options: &str) -> Self {
        let dir = TempDir::new_in(disk()).expect("a folder");
        let (image, place) = (dir.path().join("image"), dir.path().join("mounted"));
        fs::create_dir(&place).expect("mkdir");
        File::create(&image).and_then(|file| file.set_len(128 << 20)).expect("an image");
        let mkfs = Command::new("mkfs.f2fs").args(["-q", "-O", "encrypt"]).arg(&image).output();
        assert!(mkfs.is_ok_and(|output| output.status.success()), "mkfs.f2fs");
        let mut mount = Command::new("mount");
        mount.args(["-t", "f2fs", "-o", &format!("loop,{options}")]).arg(image).arg(&place);
        assert!(mount.status().is_ok_and(|status| status.success()), "mount -o {options}");
        Self { _dir: dir, place }
    }
}

impl Drop for F2fs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}

#[test]
fn emulated_ufs_device_is_described() {
    let report = Report::of(&disk(), &[]);
    let found = report.find("UFS device", "info");
    let text = found[0]["text"].as_str().expect("text");
    if env::var("DMABUFIO_DISK").expect("the VM's bus") != "ufs" {
        assert_eq!(text, "none");
        return;
    }
    // What QEMU's device claims, with the gear and lanes that the driver negotiated.
    println!("{text}");
    for fact in ["UFS 4.0", "QEMU UFS", "queue depth 32"] {
        assert!(text.contains(fact), "{fact} is not in: {text}");
    }
}

#[test]
fn domain_is_told_where_selinux_enforces() {
    let report = Report::of(&disk(), &[]);
    let found = report.find("SELinux", "info");
    let text = found[0]["text"].as_str().expect("text");
    let wanted = match env::var("DMABUFIO_SELINUX").as_deref() {
        Ok("1") => "enforcing; this is u:r:su:s0",
        _ => "off",
    };
    assert_eq!(text, wanted);
}

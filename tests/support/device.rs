//! Small disks that tests can watch and break: loop devices on memory, under the device mapper. For
//! the VM, as root.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{id, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// The file systems under test, with the features of a phone's.
pub const FILE_SYSTEMS: [&str; 2] = ["ext4", "f2fs"];

/// The bytes of a disk: room for the smallest f2fs and a few files.
pub const SIZE: u64 = 128 << 20;

/// Those of the device mapper's tables.
pub const SECTOR: u64 = 512;

/// A folder in memory. What is on a disk there is written at once.
pub fn memory() -> TempDir {
    TempDir::new_in("/run/dmabufio").expect("a folder")
}

/// Makes an image of `size` bytes without any data.
pub fn image(path: &Path, size: u64) -> File {
    let image = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let image = image.expect("an image");
    image.set_len(size).expect("size an image");
    image
}

/// Makes an image of [`SIZE`] bytes with an empty file system.
pub fn format(path: &Path, file_system: &str) {
    image(path, SIZE);
    let mut mkfs = Command::new(format!("mkfs.{file_system}"));
    match file_system {
        "f2fs" => mkfs.args(["-f", "-q", "-O", "extra_attr,encrypt,verity,compression"]),
        _ => mkfs.args(["-F", "-q", "-m", "0", "-b", "4096", "-O", "encrypt,verity"]),
    };
    run(mkfs.arg(path));
}

/// A loop device.
#[derive(Debug)]
pub struct Loop(String);

impl Loop {
    pub fn new(image: &Path) -> Self {
        Self::with(image, &[])
    }

    /// One that copies nothing, as a disk: its CPU time is not the CPU time of who uses it.
    pub fn direct(image: &Path) -> Self {
        Self::with(image, &["--direct-io=on", "--sector-size=4096"])
    }

    fn with(image: &Path, options: &[&str]) -> Self {
        Self(run(Command::new("losetup").args(["--find", "--show"]).args(options).arg(image)))
    }

    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

/// A device of the device mapper.
#[derive(Debug)]
pub struct Mapped(String);

impl Mapped {
    pub fn new(table: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        dmsetup(&["create", &name, "--table", table]);
        dmsetup(&["mknodes", &name]);
        Self(name)
    }

    pub fn path(&self) -> String {
        format!("/dev/mapper/{}", self.0)
    }

    /// Gives it another table, without asking the file system on it to write anything before.
    pub fn change(&self, table: &str) {
        dmsetup(&["load", &self.0, "--table", table]);
        dmsetup(&["suspend", "--nolockfs", &self.0]);
        self.resume();
    }

    /// Nothing that it is asked for is done until [`Mapped::resume`].
    pub fn suspend(&self) {
        // Not frozen first: who reads has to hang in the read.
        dmsetup(&["suspend", "--nolockfs", "--noflush", &self.0]);
    }

    /// Ends [`Mapped::suspend`].
    pub fn resume(&self) {
        dmsetup(&["resume", &self.0]);
    }

    pub fn message(&self, message: &[&str]) {
        dmsetup(&[&["message", &self.0, "0"], message].concat());
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = Command::new("dmsetup").args(["remove", "--noudevsync", &self.0]).status();
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount(pub PathBuf);

impl Mount {
    /// At `path`, which it creates if necessary.
    pub fn new(device: &str, file_system: &str, options: &str, path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("mkdir");
        run(Command::new("mount").args(["-t", file_system, "-o", options, device]).arg(&path));
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn dmsetup(args: &[&str]) {
    run(Command::new("dmsetup").arg("--noudevsync").args(args));
}

/// Runs a program that has to succeed, and returns its standard output without the last line's end.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

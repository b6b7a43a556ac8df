//! A disk that takes its time, or stops: a loop device under dm-delay. For the VM, as root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{id, Command};

/// Sectors of 512 bytes.
const SECTORS: u64 = (256 << 20) / 512;

/// An ext4 whose reads, or writes, take longer. Gone when dropped.
pub struct SlowDisk {
    name: String,
    device: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

impl SlowDisk {
    /// In `dir`, with `delay` milliseconds for each read.
    pub fn mount(dir: &Path, delay: u64) -> Self {
        Self::with_delays(dir, delay, 0)
    }

    /// In `dir`, with `delay` milliseconds for each write.
    pub fn with_slow_writes(dir: &Path, delay: u64) -> Self {
        Self::with_delays(dir, 0, delay)
    }

    fn with_delays(dir: &Path, reads: u64, writes: u64) -> Self {
        let (image, path) = (dir.join("slow.image"), dir.join("slow"));
        File::create(&image).and_then(|file| file.set_len(SECTORS * 512)).expect("an image");
        fs::create_dir(&path).expect("mkdir");
        let device = printed(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        let name = format!("slow-{}", id());
        // The second set of parameters is for writes.
        let table = format!("0 {SECTORS} delay {device} 0 {reads} {device} 0 {writes}");
        printed(Command::new("dmsetup").args(["create", "--noudevsync", &name, "--table", &table]));
        printed(Command::new("dmsetup").args(["mknodes", &name]));
        let mapped = format!("/dev/mapper/{name}");
        printed(Command::new("mkfs.ext4").args(["-q", "-b", "4096", &mapped]));
        printed(Command::new("mount").arg(&mapped).arg(&path));
        Self { name, device, path }
    }

    /// Nothing that the disk is asked for is done until [`SlowDisk::resume`].
    pub fn suspend(&self) {
        // Not frozen first: a reader must hang in its read.
        let options = ["suspend", "--noudevsync", "--nolockfs", "--noflush", &self.name];
        printed(Command::new("dmsetup").args(options));
    }

    /// Ends [`SlowDisk::suspend`].
    pub fn resume(&self) {
        printed(Command::new("dmsetup").args(["resume", "--noudevsync", &self.name]));
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = Command::new("dmsetup").args(["resume", "--noudevsync", &self.name]).status();
        let _ = Command::new("umount").arg(&self.path).status();
        let _ = Command::new("dmsetup").args(["remove", "--noudevsync", &self.name]).status();
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

/// What a command that has to succeed prints.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

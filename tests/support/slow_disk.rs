//! A disk that takes its time, or stops: a loop device under dm-delay. For the VM, as root.

use super::device::{image, run, Loop, Mapped, Mount, SECTOR};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its size in bytes.
const SIZE: u64 = 256 << 20;

/// An ext4 whose reads, or writes, take longer. Gone when dropped.
pub struct SlowDisk {
    /// Where it is mounted.
    pub path: PathBuf,
    // Dropped in this order.
    _mount: Mount,
    mapped: Mapped,
    _disk: Loop,
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
        let (path, file) = (dir.join("slow"), dir.join("slow.image"));
        image(&file, SIZE);
        let disk = Loop::direct(&file);
        let (device, sectors) = (disk.path(), SIZE / SECTOR);
        // The second set of parameters is for writes.
        let table = format!("0 {sectors} delay {device} 0 {reads} {device} 0 {writes}");
        let mapped = Mapped::new(&table);
        run(Command::new("mkfs.ext4").args(["-q", "-b", "4096", &mapped.path()]));
        let mount = Mount::new(&mapped.path(), "ext4", "defaults", path.clone());
        Self { path, _mount: mount, mapped, _disk: disk }
    }

    /// Nothing that the disk is asked for is done until [`SlowDisk::resume`].
    pub fn suspend(&self) {
        self.mapped.suspend();
    }

    /// Ends [`SlowDisk::suspend`].
    pub fn resume(&self) {
        self.mapped.resume();
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Or the end of the mount would wait for ever.
        self.resume();
    }
}

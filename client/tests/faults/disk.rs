//! A disk that can be filled, and whose writes can be made to fail.

use crate::device::{self, memory, Loop, Mapped, Mount, SECTOR, SIZE};
use rustix::fs::{fallocate, statvfs, FallocateFlags};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a full disk still has.
const LEFT: u64 = 1 << 20;

/// Gone when dropped.
pub struct Disk {
    pub file_system: &'static str,
    mount: Mount,
    mapped: Mapped,
    device: Loop,
    _dir: TempDir,
}

impl Disk {
    pub fn new(file_system: &'static str) -> Self {
        let dir = memory();
        let image = dir.path().join("image");
        device::format(&image, file_system);
        let device = Loop::new(&image);
        let mapped = Mapped::new(&healthy(&device));
        // A journal that cannot be written is the end of its file system: nothing writes it while
        // writes fail.
        let options = if file_system == "ext4" { "commit=3600" } else { "noatime" };
        let mount = Mount::new(&mapped.path(), file_system, options, dir.path().join("mount"));
        Self { file_system, mount, mapped, device, _dir: dir }
    }

    pub fn path(&self) -> &Path {
        &self.mount.0
    }

    /// The bytes that are free.
    pub fn available(&self) -> u64 {
        let stat = statvfs(self.path()).expect("statvfs");
        stat.f_bavail * stat.f_frsize
    }

    /// Fills it but for [`LEFT`], until the result is dropped.
    pub fn fill(&self) -> Filler {
        let path = self.path().join("filler");
        let file = File::create(&path).expect("create");
        let len = self.available() - LEFT;
        fallocate(&file, FallocateFlags::empty(), 0, len).expect("fill the disk");
        Filler(path)
    }

    /// Every write fails until [`Disk::heal`].
    pub fn fail_writes(&self) {
        let (sectors, device) = (SIZE / SECTOR, self.device.path());
        self.mapped.change(&format!("0 {sectors} flakey {device} 0 0 60 1 error_writes"));
    }

    pub fn heal(&self) {
        self.mapped.change(&healthy(&self.device));
    }
}

fn healthy(device: &Loop) -> String {
    format!("0 {} linear {} 0", SIZE / SECTOR, device.path())
}

pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("remove");
    }
}

/// The files below `path`, by name, with what they have in the page cache or on the disk.
pub fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).expect("list").flatten() {
        let path = entry.path();
        match entry.file_type().expect("stat").is_dir() {
            true if entry.file_name() == "lost+found" => {}
            true => files.extend(self::files(&path)),
            false => drop(files.insert(path.clone(), fs::read(path).expect("read"))),
        }
    }
    files
}

//! What the tests share: a place for files, random data, and reading back by another path.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(missing_docs, reason = "test code")]

pub mod attachment;
pub mod device;
pub mod disks;
pub mod ends;
pub mod fixture;
pub mod fragments;
#[path = "../../vts/fuse.rs"]
pub mod fuse;
pub mod hungry;
pub mod left;
pub mod machine;
pub mod percentiles;
mod random;
pub mod random_parcels;
pub mod slow_disk;
pub mod victim;

pub use random::Random;

use dmabufio_core::buffer::Buffer;
use dmabufio_core::extent::Direction;
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_core::sys::mmap::{Access, Mapping};
use rustix::fs::{fadvise, fcntl_getfl, seek, Advice, OFlags, SeekFrom};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const PAGE: u64 = 4096;

/// The part that [`big_file`] repeats, in bytes.
pub const BIG_BLOCK: usize = 8 << 20;

/// Which kernel the VM runs; `None` on a host, where the heaps and the ioctl may be missing.
pub fn vm_kernel() -> Option<String> {
    env::var("DMABUFIO_KERNEL").ok()
}

/// The heap that the service of the VM has to use; `None` on a host.
pub fn vm_heap() -> Option<Heap> {
    let name = env::var("DMABUFIO_HEAP").ok()?;
    Some(name.parse().expect("xtask vm names a heap"))
}

/// Whether `DMA_BUF_IOCTL_RW_FILE` has to work here.
pub fn is_patched() -> bool {
    vm_kernel().is_some_and(|kernel| kernel != "stock")
}

/// Whether this is the given release of Linux or a later one.
pub fn linux_since(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let numbers: Vec<u32> = release.split('.').map_while(|part| part.parse().ok()).collect();
    numbers >= vec![major, minor]
}

/// A folder on the file system under test, removed when dropped.
pub fn scratch() -> TempDir {
    // Beside the build's own files where there is no test disk: /tmp may be a tmpfs, which does no
    // direct I/O.
    let parent = env::var_os("DMABUFIO_TEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    TempDir::new_in(&parent).unwrap_or_else(|e| panic!("a folder in {}: {e}", parent.display()))
}

/// Writes a file of `content` and leaves nothing of it in the page cache.
pub fn file(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).expect("write a test file");
    make_cold(&path);
    path
}

/// A file of `len` bytes, too many to hold in memory: the block of [`BIG_BLOCK`] bytes that
/// `Random::new(1)` makes, again and again. Nothing of it is in the page cache.
pub fn big_file(dir: &Path, len: u64) -> PathBuf {
    let path = dir.join("big");
    let file = File::create(&path).expect("create");
    let block = Random::new(1).bytes(BIG_BLOCK);
    for at in (0..len).step_by(BIG_BLOCK) {
        file.write_all_at(&block, at).expect("write");
    }
    make_cold(&path);
    path
}

/// Empties the page cache of a file.
pub fn make_cold(path: &Path) {
    let file = File::open(path).expect("open a test file");
    match file.sync_all() {
        // A file system that cannot be written has nothing to sync.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {}
        synced => synced.expect("sync a test file"),
    }
    fadvise(&file, 0, 0, Advice::DontNeed).expect("drop its pages");
}

pub fn open(path: &Path, flags: OFlags) -> File {
    let access = flags & OFlags::RWMODE;
    OpenOptions::new()
        .read(access != OFlags::WRONLY)
        .write(access != OFlags::RDONLY)
        .custom_flags((flags & !OFlags::RWMODE).bits() as i32)
        .open(path)
        .unwrap_or_else(|e| panic!("open {} {flags:?}: {e}", path.display()))
}

/// The heaps that work here. In the VM all of them have to.
pub fn heaps() -> Vec<Heap> {
    // In the VM there is a module to load or not.
    let module = |heap: &Heap| {
        *heap != Heap::SystemDirect
            || vm_kernel().is_none()
            || env::var("DMABUFIO_MODULE").is_ok_and(|path| !path.is_empty())
    };
    Heap::ALL.into_iter().filter(module).filter(|heap| has(*heap)).collect()
}

fn has(heap: Heap) -> bool {
    match Allocator::open(heap) {
        Ok(_) => true,
        Err(error) if vm_kernel().is_some() => panic!("heap {heap} must work in the VM: {error}"),
        Err(_) => false,
    }
}

pub fn allocate(heap: Heap, size: u64) -> OwnedFd {
    Allocator::open(heap).and_then(|heap| heap.allocate(size)).expect("allocate").fd
}

/// The whole content of a buffer, read by the CPU through its mapping.
pub fn read_buffer(fd: BorrowedFd<'_>, heap: Heap, len: usize) -> Vec<u8> {
    let mapping = Mapping::new(fd, 0, len, Access::Read).expect("map a buffer");
    let buffer = Buffer::new(fd, heap).expect("a buffer");
    let access = buffer.begin_cpu_access(Direction::Save).expect("begin CPU access");
    let mut bytes = vec![0; len];
    mapping.read(0, &mut bytes).expect("read a buffer");
    access.end().expect("end CPU access");
    bytes
}

/// Sets the whole content of a buffer, written by the CPU through its mapping.
pub fn write_buffer(fd: BorrowedFd<'_>, heap: Heap, bytes: &[u8]) {
    let mut mapping = Mapping::new(fd, 0, bytes.len(), Access::ReadWrite).expect("map a buffer");
    let buffer = Buffer::new(fd, heap).expect("a buffer");
    let access = buffer.begin_cpu_access(Direction::Load).expect("begin CPU access");
    mapping.write(0, bytes).expect("write a buffer");
    access.end().expect("end CPU access");
}

/// The position and flags of a client's file, which no transfer may change.
#[derive(Debug, PartialEq)]
pub struct Descriptor {
    position: u64,
    flags: OFlags,
}

impl Descriptor {
    pub fn of(file: impl AsFd) -> Self {
        Self {
            position: seek(file.as_fd(), SeekFrom::Current(0)).expect("lseek"),
            flags: fcntl_getfl(file.as_fd()).expect("F_GETFL"),
        }
    }

    /// Puts the position somewhere that a stray read would move it from.
    pub fn at(file: impl AsFd, position: u64) -> Self {
        seek(file.as_fd(), SeekFrom::Start(position)).expect("lseek");
        Self::of(file)
    }
}

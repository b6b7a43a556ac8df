//! What becomes of a load on kernels that lack a feature: each is taken away from a kernel that may
//! have it.

use crate::error::{ErrorKind, Result};
use crate::extent::{Direction, Extent};
use crate::file::RegularFile;
use crate::heap::{Allocation, Allocator, Heap};
use crate::method::{FallbackReason, Method, Mode};
use crate::pool::pressure;
use crate::sys::mmap::{Access, Mapping};
use crate::sys::pagecache;
use crate::sys::without::{without, Feature};
use crate::transfer::receipt::Receipt;
use crate::transfer::{transfer, Durability, Request};
use rustix::fs::{fadvise, open, Advice, Mode as Permissions, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::NamedTempFile;

const LEN: u64 = 4 << 20;

/// A file of `content` on the build's file system, of which the page cache holds nothing.
fn cold_file(content: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("create");
    file.as_file().write_all_at(content, 0).expect("write");
    file.as_file().sync_all().expect("sync");
    fadvise(file.as_file(), 0, 0, Advice::DontNeed).expect("drop its pages");
    file
}

fn content() -> Vec<u8> {
    (0..LEN).map(|i| (i / 4096 * 7 + i) as u8).collect()
}

fn reopen(path: &Path, flags: OFlags) -> OwnedFd {
    open(path, OFlags::RDONLY | flags, Permissions::empty()).expect("open")
}

/// Loads all of the file, which the caller has opened, into a buffer of ordinary pages.
fn load(file: &OwnedFd, mode: Mode) -> Result<(Receipt, Vec<u8>)> {
    let buffer: Allocation = Allocator::open(Heap::Memfd)?.allocate(LEN)?;
    let receipt = transfer(&Request {
        buffer: &buffer.buffer(),
        file: &RegularFile::new(file.as_fd(), Heap::Memfd)?,
        extents: &[Extent { file_offset: 0, buffer_offset: 0, len: LEN }],
        direction: Direction::Load,
        mode,
        durability: Durability::None,
    })?;
    let mut bytes = vec![0; LEN as usize];
    File::from(buffer.fd).read_exact_at(&mut bytes, 0).expect("read the buffer");
    Ok((receipt, bytes))
}

fn cached(path: &Path) -> u64 {
    let file = reopen(path, OFlags::empty());
    pagecache::mincore(file.as_fd(), 0, 0).expect("mincore")
}

#[test]
fn file_without_an_alignment_is_copied_and_the_receipt_says_so() {
    let content = content();
    let file = cold_file(&content);
    let source = reopen(file.path(), OFlags::DIRECT);
    let looked_at = RegularFile::new(source.as_fd(), Heap::Memfd).expect("file");
    assert!(looked_at.direct_align().is_some(), "the build's file system has direct I/O");
    without(&[Feature::DirectAlignment], || {
        let looked_at = RegularFile::new(source.as_fd(), Heap::Memfd).expect("file");
        assert_eq!((looked_at.direct_align(), looked_at.obstacles()), (None, 0));
        assert_eq!(looked_at.size(), LEN);
        let (receipt, bytes) = load(&source, Mode::Auto).expect("load");
        assert_eq!(receipt.method, Some(Method::MappedBuffered));
        assert_eq!(receipt.first_fallback, Some(FallbackReason::FileNotDirect));
        assert_eq!((receipt.direct, receipt.bounced, receipt.buffered), (0, 0, LEN));
        assert!(bytes == content, "other bytes");
        let refused = load(&source, Mode::Direct).expect_err("nobody knows whether it can");
        assert_eq!(refused.kind(), ErrorKind::NotDirect, "{refused}");
    });
    // The descriptor bypasses the page cache all the same.
    assert_eq!(cached(file.path()), 0);
}

#[test]
fn load_leaves_the_page_cache_as_it_was_without_cachestat_and_uncached_reads() {
    let content = content();
    let file = cold_file(&content);
    let source = reopen(file.path(), OFlags::empty());
    // A quarter in the middle stays, and nothing else comes: without readahead, it is just that.
    fadvise(file.as_file(), 0, 0, Advice::Random).expect("fadvise");
    file.as_file().read_exact_at(&mut vec![0; 1 << 20], 1 << 20).expect("read");
    let before = cached(file.path());
    assert!(((1 << 20) / 4096..LEN / 8192).contains(&before), "{before} pages");
    without(&[Feature::Cachestat, Feature::UncachedReads], || {
        assert_eq!(pagecache::cachestat(source.as_fd(), 0, 0).err(), Some(Errno::NOSYS));
        let looked_at = RegularFile::new(source.as_fd(), Heap::Memfd).expect("file");
        assert_eq!(looked_at.cached_pages(0..LEN), Some(before));
        let (receipt, bytes) = load(&source, Mode::Auto).expect("load");
        assert_eq!(receipt.first_fallback, Some(FallbackReason::DescriptorNotDirect));
        assert_eq!(receipt.buffered, LEN, "{receipt:?}");
        assert!(bytes == content, "other bytes");
    });
    assert_eq!(cached(file.path()), before);
}

#[test]
fn direct_load_is_checked_without_cachestat() {
    let content = content();
    let file = cold_file(&content);
    let source = reopen(file.path(), OFlags::DIRECT);
    without(&[Feature::Cachestat], || {
        let (receipt, bytes) = load(&source, Mode::Auto).expect("load");
        assert_eq!((receipt.method, receipt.direct), (Some(Method::MappedDirect), LEN));
        assert!(receipt.checked, "{receipt:?}");
        assert!(bytes == content, "other bytes");
    });
}

#[test]
fn read_goes_on_without_uncached_reads() {
    let content = content();
    let file = cold_file(&content);
    let source = reopen(file.path(), OFlags::empty());
    let buffer =
        Allocator::open(Heap::Memfd).and_then(|heap| heap.allocate(LEN)).expect("allocate");
    let mapping = Mapping::new(buffer.fd.as_fd(), 0, LEN as usize, Access::ReadWrite).expect("map");
    without(&[Feature::UncachedReads], || {
        let refused = mapping.fill_uncached(0, LEN as usize, source.as_fd(), 0);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        let (receipt, bytes) = load(&source, Mode::Auto).expect("load");
        assert_eq!(receipt.buffered, LEN, "{receipt:?}");
        assert!(bytes == content, "other bytes");
    });
}

#[test]
fn pressure_without_the_privilege_to_see_it_is_a_permission_error() {
    let error = without(&[Feature::PressureTriggers], || pressure::system().expect_err("refused"));
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("/proc/pressure/memory"), "{error}");
}

//! What the receipt claims and what mode `AUTO` costs, on the test disk.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio::extent::{Direction, Extent};
use dmabufio::file::RegularFile;
use dmabufio::heap::{Allocation, Allocator, Heap};
use dmabufio::method::{FallbackReason, Method, Mode};
use dmabufio::transfer::receipt::Receipt;
use dmabufio::transfer::{transfer, Durability, Request};
use rustix::fs::OFlags;
use std::env;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use support::{is_patched, make_cold, open, read_buffer, scratch, Random};

const LEN: u64 = 1 << 20;

fn load(buffer: &Allocation, file: &RegularFile<'_>, mode: Mode) -> Receipt {
    transfer(&Request {
        buffer: &buffer.buffer(),
        file,
        extents: &[Extent { file_offset: 0, buffer_offset: 0, len: file.size() }],
        direction: Direction::Load,
        mode,
        durability: Durability::None,
    })
    .expect("load")
}

/// A heap whose buffers are loaded directly here, and how the client opens the file for that.
fn direct_heaps() -> Vec<(Heap, OFlags)> {
    let mut heaps = vec![(Heap::Udmabuf, OFlags::DIRECT), (Heap::Memfd, OFlags::DIRECT)];
    if is_patched() {
        heaps.push((Heap::System, OFlags::empty()));
    }
    heaps
}

fn chattr(flag: &str, path: &Path) {
    let status = Command::new("chattr").arg(flag).arg(path).status();
    assert!(status.is_ok_and(|status| status.success()), "chattr {flag}");
}

#[test]
fn file_that_is_copied_silently_is_never_called_direct() {
    let dir = scratch();
    let content = Random::new(30).bytes(LEN as usize);
    for (heap, flags) in direct_heaps() {
        for mode in [Mode::Auto, Mode::Direct] {
            let path = dir.path().join("silent");
            let _ = fs::remove_file(&path);
            let file = File::create(&path).expect("create");
            file.set_len(LEN).expect("truncate");
            let source = open(&path, flags);
            // Looked at while the file can do direct I/O, and changed before it is loaded.
            let looked_at = RegularFile::new(source.as_fd(), heap).expect("file");
            match env::var("DMABUFIO_FS").as_deref() {
                // f2fs compresses what has no blocks yet.
                Ok("f2fs") => chattr("+c", &path),
                Ok("ext4") => chattr("+j", &path),
                other => panic!("how to make {other:?} copy?"),
            }
            fs::write(&path, &content).expect("write");
            make_cold(&path);

            let buffer = Allocator::open(heap).and_then(|heap| heap.allocate(LEN));
            let buffer = buffer.expect("allocate");
            let receipt = load(&buffer, &looked_at, mode);
            assert_eq!(
                (receipt.direct, receipt.buffered),
                (0, LEN),
                "{heap} {mode:?}: {receipt:?}"
            );
            assert_eq!(receipt.first_fallback, Some(FallbackReason::FileNotDirect), "{heap}");
            let method = match heap {
                Heap::System => Method::RwFileBuffered,
                Heap::Udmabuf | Heap::Memfd => Method::MappedBuffered,
            };
            assert_eq!(receipt.method, Some(method), "{heap}");
            assert!(!receipt.checked, "{heap}: {receipt:?}");
            assert!(read_buffer(buffer.fd.as_fd(), heap, LEN as usize) == content, "{heap}");

            // Looked at again, it says beforehand that it cannot.
            make_cold(&path);
            let source = open(&path, OFlags::RDONLY);
            let looked_at = RegularFile::new(source.as_fd(), heap).expect("file");
            assert_eq!(looked_at.direct_align(), None, "{heap}");
        }
    }
}

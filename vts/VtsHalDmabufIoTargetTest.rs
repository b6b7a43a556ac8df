//! What every implementation of `vendor.dmabufio.IDmabufIo` has to do, on every instance that the device declares.
//!
//! Nothing here asks how bytes move: an implementation without direct I/O conforms. Soong builds this file alone, as
//! VtsHalDmabufIoTargetTest; Cargo builds it into `tests/vm_vts.rs`, for the VM.

use binder_shim::{
    borrow, declared_instances, describe, ex, lookup_within, pfd, ExceptionCode,
    ParcelFileDescriptor, Status, Strong,
};
use dmabufio::sys::ioctl::dma_buf_sync;
use dmabufio::sys::mmap::{Access, Mapping};
use dmabufio::sys::uapi;
use rustix::fs::{openat, Mode as Permissions, OFlags, CWD};
use std::env;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer,
    BufferDesc::BufferDesc,
    Digest::Digest,
    Direction::Direction,
    Durability::Durability,
    Error::Error,
    Extent::Extent,
    IDmabufIo::{IDmabufIo, MAX_BATCH},
    LoadItem::LoadItem,
    LoadRequest::LoadRequest,
    Method::Method,
    Mode::Mode,
    Priority::Priority,
    Receipt::Receipt,
    TransferRequest::TransferRequest,
};

const INTERFACE: &str = "vendor.dmabufio.IDmabufIo";
const LEN: usize = 1 << 20;

/// One instance, and a folder for files that its service may be given.
struct Device {
    service: Strong<dyn IDmabufIo>,
    dir: TempDir,
}

impl Device {
    fn allocate(&self, size: usize) -> Buffer {
        let desc = BufferDesc { size: size as i64, tag: "vts".to_owned() };
        self.service.allocate(&desc).unwrap_or_else(|status| panic!("{}", describe(&status)))
    }

    /// A file on the disk, and what is in it.
    fn file(&self, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
        let path = self.dir.path().join(name);
        let content: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        fs::write(&path, &content).expect("write a file");
        File::open(&path).and_then(|file| file.sync_all()).expect("sync it");
        (path, content)
    }

    /// A load of a whole file into a buffer of its size.
    fn load(&self) -> TransferRequest {
        let (path, _) = self.file("source", LEN);
        request(self.allocate(LEN).fd, open(&path, OFlags::RDONLY), LEN)
    }
}

/// Runs a test on every declared instance. A device that declares none fails.
fn on_every_instance(test: impl Fn(&Device)) {
    let instances = declared_instances(INTERFACE)
        .unwrap_or_else(|status| panic!("{INTERFACE}: {}", describe(&status)));
    assert!(!instances.is_empty(), "no manifest of the device declares {INTERFACE}");
    for instance in instances {
        let name = format!("{INTERFACE}/{instance}");
        println!("{name}");
        let service = lookup_within(&name, Duration::from_secs(10))
            .unwrap_or_else(|status| panic!("{name}: {}", describe(&status)));
        // A phone's /data/local/tmp holds this program and files that may be passed to a HAL.
        let parent = env::var_os("DMABUFIO_TEST_DIR").unwrap_or("/data/local/tmp".into());
        test(&Device { service, dir: TempDir::new_in(parent).expect("a folder") });
    }
}

fn open(path: &PathBuf, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::CLOEXEC, Permissions::empty())
        .unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
}

fn request(buffer: Option<ParcelFileDescriptor>, file: OwnedFd, len: usize) -> TransferRequest {
    let extents = vec![Extent { fileOffset: 0, bufferOffset: 0, length: len as i64 }];
    TransferRequest { buffer, file: Some(pfd(file)), extents, ..Default::default() }
}

/// The content of a buffer, read by the CPU.
fn content(buffer: &Option<ParcelFileDescriptor>, len: usize) -> Vec<u8> {
    let fd = borrow(buffer.as_ref().expect("a buffer"));
    let pages = Mapping::new(fd, 0, len, Access::Read).expect("map the buffer");
    dma_buf_sync(fd, uapi::DMA_BUF_SYNC_START | uapi::DMA_BUF_SYNC_READ).expect("begin access");
    let mut bytes = vec![0; len];
    pages.read(0, &mut bytes).expect("read the buffer");
    dma_buf_sync(fd, uapi::DMA_BUF_SYNC_END | uapi::DMA_BUF_SYNC_READ).expect("end access");
    bytes
}

fn adds_up(receipt: &Receipt, bytes: usize) {
    assert_eq!(receipt.bytes, bytes as i64, "{receipt:?}");
    let parts = receipt.bytesDirect + receipt.bytesBounced + receipt.bytesBuffered;
    assert_eq!(parts, receipt.bytes, "{receipt:?}");
}

/// Checks that a load that is valid but for `spoil` is refused, and that no byte moved.
fn refuses(device: &Device, exception: ExceptionCode, spoil: impl FnOnce(&mut TransferRequest)) {
    let mut load = device.load();
    let kept = load.buffer.as_ref().map(|fd| borrow(fd).try_clone_to_owned());
    let kept = kept.expect("a buffer").expect("dup");
    spoil(&mut load);
    let status = device.service.transfer(&load).expect_err("the request is wrong");
    assert_eq!(status.exception_code(), exception, "{}", describe(&status));
    assert!(content(&Some(pfd(kept)), LEN).iter().all(|byte| *byte == 0), "bytes moved");
}

fn specific(status: &Status) -> Error {
    assert_eq!(status.exception_code(), ex::SERVICE_SPECIFIC, "{}", describe(status));
    Error(status.service_specific_error())
}

#[test]
fn capabilities_are_complete_and_constant() {
    on_every_instance(|device| {
        let capabilities = device.service.getCapabilities().expect("capabilities");
        assert!(
            capabilities.pageSize >= 4096
                && capabilities.pageSize & (capabilities.pageSize - 1) == 0
        );
        assert!(capabilities.maxBufferBytes >= capabilities.pageSize);
        assert!(capabilities.maxExtents > 0);
        assert!(capabilities.digests.contains(&Digest::NONE));
        assert!(!capabilities.methods.is_empty(), "without a method nothing can be loaded");
        assert!(!capabilities.methods.contains(&Method::NONE));
        assert_eq!(device.service.getCapabilities().expect("capabilities"), capabilities);
    });
}

#[test]
fn buffer_is_zeroed_and_as_large_as_asked() {
    on_every_instance(|device| {
        let page = device.service.getCapabilities().expect("capabilities").pageSize;
        let buffer = device.allocate(5000);
        assert!(buffer.size >= 5000 && buffer.size % page == 0, "{}", buffer.size);
        assert!(content(&buffer.fd, buffer.size as usize).iter().all(|byte| *byte == 0));
    });
}

#[test]
fn load_is_exact_and_its_receipt_adds_up() {
    on_every_instance(|device| {
        let (path, expected) = device.file("model", LEN + 777);
        for mode in [Mode::AUTO, Mode::BUFFERED] {
            let buffer = device.allocate(LEN + 777).fd;
            let kept =
                borrow(buffer.as_ref().expect("a buffer")).try_clone_to_owned().expect("dup");
            let file = open(&path, OFlags::RDONLY);
            let load = TransferRequest { mode, ..request(buffer, file, LEN + 777) };
            let receipt = device.service.transfer(&load).expect("load");
            adds_up(&receipt, LEN + 777);
            if mode == Mode::BUFFERED {
                assert_eq!(receipt.bytesDirect, 0);
            }
            assert!(content(&Some(pfd(kept)), LEN + 777) == expected, "{mode:?}: data differ");
        }
    });
}

#[test]
fn mode_direct_is_direct_or_an_error() {
    on_every_instance(|device| {
        let load = TransferRequest { mode: Mode::DIRECT, ..device.load() };
        match device.service.transfer(&load) {
            Ok(receipt) => {
                adds_up(&receipt, LEN);
                assert_eq!(receipt.bytesBuffered, 0, "{receipt:?}");
            }
            Err(status) => assert_eq!(specific(&status), Error::NOT_DIRECT),
        }
    });
}

#[test]
fn load_ends_at_the_end_of_the_file() {
    on_every_instance(|device| {
        let (path, expected) = device.file("short", 10_000);
        let buffer = device.allocate(LEN).fd;
        let kept = borrow(buffer.as_ref().expect("a buffer")).try_clone_to_owned().expect("dup");
        let load = request(buffer, open(&path, OFlags::RDONLY), LEN);
        adds_up(&device.service.transfer(&load).expect("load"), 10_000);
        let bytes = content(&Some(pfd(kept)), LEN);
        assert!(bytes[..10_000] == expected && bytes[10_000..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn save_is_exact_and_leaves_the_rest_alone() {
    on_every_instance(|device| {
        let load = device.load();
        device.service.transfer(&load).expect("load");
        let (path, before) = device.file("target", 2 * LEN);
        for durability in [Durability::NONE, Durability::DATA, Durability::FULL] {
            let buffer = borrow(load.buffer.as_ref().expect("a buffer")).try_clone_to_owned();
            let save = TransferRequest {
                buffer: Some(pfd(buffer.expect("dup"))),
                file: Some(pfd(open(&path, OFlags::WRONLY))),
                extents: vec![Extent { fileOffset: 4096, bufferOffset: 8192, length: 500_001 }],
                direction: Direction::SAVE,
                durability,
                ..Default::default()
            };
            adds_up(&device.service.transfer(&save).expect("save"), 500_001);
        }
        let source = content(&load.buffer, LEN);
        let mut after = vec![0; 2 * LEN];
        File::open(&path).expect("open").read_exact_at(&mut after, 0).expect("read");
        assert!(after[4096..504_097] == source[8192..508_193], "what was saved differs");
        assert!(after[..4096] == before[..4096] && after[504_097..] == before[504_097..]);
    });
}

#[test]
fn probe_predicts_every_extent_and_reads_nothing() {
    on_every_instance(|device| {
        let (path, _) = device.file("probed", LEN);
        let extents = [
            Extent { fileOffset: 0, bufferOffset: 0, length: 65_536 },
            Extent { fileOffset: 65_536, bufferOffset: 65_536, length: 65_536 },
        ];
        let plan = device.service.probe(&pfd(open(&path, OFlags::RDONLY)), &extents);
        assert_eq!(plan.expect("probe").extents.len(), extents.len());
    });
}

#[test]
fn many_buffers_are_loaded_at_once() {
    on_every_instance(|device| {
        let (path, expected) = device.file("split", LEN);
        let half = LEN / 2;
        let item = |at: usize| LoadItem {
            size: half as i64,
            extents: vec![Extent { fileOffset: at as i64, bufferOffset: 0, length: half as i64 }],
        };
        let load = LoadRequest {
            file: Some(pfd(open(&path, OFlags::RDONLY))),
            items: vec![item(0), item(half)],
            ..Default::default()
        };
        let loaded = device.service.load(&load).expect("load").items;
        assert_eq!(loaded.len(), 2);
        for (item, expected) in loaded.iter().zip(expected.chunks(half)) {
            assert_eq!(item.error, 0, "{}", item.message);
            adds_up(item.receipt.as_ref().expect("a receipt"), half);
            let buffer = item.buffer.as_ref().expect("a buffer");
            assert!(content(&buffer.fd, half) == expected);
        }
    });
}

#[test]
fn sizes_that_cannot_be_are_illegal() {
    on_every_instance(|device| {
        let limit = device.service.getCapabilities().expect("capabilities").maxBufferBytes;
        for size in [0, -1, i64::MIN, limit + 1, i64::MAX] {
            let status = device.service.allocate(&BufferDesc { size, tag: String::new() });
            let status = status.expect_err("an impossible size");
            assert_eq!(status.exception_code(), ex::ILLEGAL_ARGUMENT, "{size}");
        }
        let tag = "\u{7}".to_owned();
        let status = device.service.allocate(&BufferDesc { size: 4096, tag }).expect_err("a bell");
        assert_eq!(status.exception_code(), ex::ILLEGAL_ARGUMENT);
    });
}

#[test]
fn extents_that_cannot_be_are_illegal() {
    on_every_instance(|device| {
        let max = device.service.getCapabilities().expect("capabilities").maxExtents as usize;
        let extent =
            |file, buffer, length| Extent { fileOffset: file, bufferOffset: buffer, length };
        let page = |i: usize| extent(i as i64, i as i64 % (LEN as i64), 1);
        for extents in [
            vec![extent(-1, 0, 4096)],
            vec![extent(0, -1, 4096)],
            vec![extent(0, 0, -4096)],
            vec![extent(i64::MAX, 0, 4096)],
            vec![extent(0, LEN as i64, 4096)],
            vec![extent(0, 0, LEN as i64 + 1)],
            vec![extent(0, 0, 4096), extent(8192, 4095, 4096)],
            (0..=max).map(page).collect(),
        ] {
            refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.extents = extents);
        }
    });
}

#[test]
fn values_without_a_meaning_are_illegal() {
    on_every_instance(|device| {
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.direction = Direction(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.mode = Mode(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.priority = Priority(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.durability = Durability(99));
    });
}

#[test]
fn digest_that_is_not_offered_is_unsupported() {
    on_every_instance(|device| {
        let offered = device.service.getCapabilities().expect("capabilities").digests;
        for digest in Digest::enum_values().into_iter().filter(|digest| !offered.contains(digest)) {
            refuses(device, ex::UNSUPPORTED_OPERATION, |load| load.digest = digest);
        }
    });
}

#[test]
fn missing_descriptors_are_null_pointers() {
    on_every_instance(|device| {
        // A required field without a descriptor may not even leave this process.
        for spoil in [
            |load: &mut TransferRequest| load.buffer = None,
            |load: &mut TransferRequest| load.file = None,
        ] {
            let mut load = device.load();
            spoil(&mut load);
            let status = device.service.transfer(&load).expect_err("a descriptor is missing");
            let code = status.exception_code();
            assert!(matches!(code, ex::NULL_POINTER | ex::TRANSACTION_FAILED), "{code:?}");
        }
    });
}

#[test]
fn file_without_the_access_it_needs_is_illegal() {
    on_every_instance(|device| {
        let (path, _) = device.file("wrong", LEN);
        let write_only = open(&path, OFlags::WRONLY);
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.file = Some(pfd(write_only)));
        for flags in [OFlags::RDONLY, OFlags::WRONLY | OFlags::APPEND] {
            let file = open(&path, flags);
            refuses(device, ex::ILLEGAL_ARGUMENT, |load| {
                load.direction = Direction::SAVE;
                load.file = Some(pfd(file));
            });
        }
    });
}

#[test]
fn file_is_no_buffer() {
    on_every_instance(|device| {
        let (path, _) = device.file("plain", LEN);
        let both = open(&path, OFlags::RDWR);
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.buffer = Some(pfd(both)));
        let buffer = device.allocate(LEN).fd;
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.file = buffer);
    });
}

#[test]
fn malformed_item_of_a_load_is_illegal_before_anything_is_allocated() {
    on_every_instance(|device| {
        let (path, _) = device.file("items", LEN);
        let valid = LoadItem {
            size: 4096,
            extents: vec![Extent { fileOffset: 0, bufferOffset: 0, length: 4096 }],
        };
        let load = |items| LoadRequest {
            file: Some(pfd(open(&path, OFlags::RDONLY))),
            items,
            ..Default::default()
        };
        let status = device.service.load(&load(vec![valid.clone(); MAX_BATCH as usize + 1]));
        assert_eq!(status.expect_err("too many").exception_code(), ex::ILLEGAL_ARGUMENT);
        let wrong = LoadItem { size: 0, ..valid.clone() };
        let status = device.service.load(&load(vec![valid, wrong]));
        assert_eq!(status.expect_err("no size").exception_code(), ex::ILLEGAL_ARGUMENT);
    });
}

#[test]
fn descriptor_of_the_client_keeps_its_position() {
    on_every_instance(|device| {
        let (path, _) = device.file("position", LEN);
        let file = File::from(open(&path, OFlags::RDONLY));
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(4242)).expect("seek");
        let copy = file.as_fd().try_clone_to_owned().expect("dup");
        device.service.transfer(&request(device.allocate(LEN).fd, copy, LEN)).expect("load");
        let position = rustix::fs::seek(&file, rustix::fs::SeekFrom::Current(0)).expect("seek");
        assert_eq!(position, 4242);
    });
}

/// Prints figures and judges none: with `--ignored`.
#[test]
#[ignore = "a benchmark"]
fn benchmark() {
    on_every_instance(|device| {
        let (path, _) = device.file("large", 64 << 20);
        for mode in [Mode::AUTO, Mode::BUFFERED] {
            let buffer = device.allocate(64 << 20).fd;
            let file = open(&path, OFlags::RDONLY);
            rustix::fs::fadvise(&file, 0, 0, rustix::fs::Advice::DontNeed).expect("fadvise");
            let load = TransferRequest { mode, ..request(buffer, file, 64 << 20) };
            let start = Instant::now();
            let receipt = device.service.transfer(&load).expect("load");
            let time = start.elapsed();
            println!(
                "{mode:?}: 64 MiB in {time:?}, {:?}, I/O {} us",
                receipt.method,
                receipt.ioNanos / 1000
            );
        }
    });
}

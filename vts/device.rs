//! The instances that a device declares, and what tests give to them.

use binder_shim::{
    borrow, declared_instances, describe, ex, lookup_within, pfd, ExceptionCode,
    ParcelFileDescriptor, Status, Strong,
};
use dmabufio_core::sys::ioctl::dma_buf_sync;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::uapi;
use rustix::fs::{flock, openat, FlockOperation, Mode as Permissions, OFlags, CWD};
use std::env;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, BufferDesc::BufferDesc, Direction::Direction, Error::Error, Extent::Extent,
    IDmabufIo::IDmabufIo, Receipt::Receipt, TransferRequest::TransferRequest,
};

const INTERFACE: &str = "vendor.dmabufio.IDmabufIo";
/// The size of most files and buffers here, in bytes.
pub const LEN: usize = 1 << 20;

/// One instance, and a folder for files that its service may be given.
pub struct Device {
    pub service: Strong<dyn IDmabufIo>,
    pub dir: TempDir,
}

impl Device {
    pub fn allocate(&self, size: usize) -> Buffer {
        let desc = BufferDesc { size: size as i64, tag: "vts".to_owned() };
        self.service.allocate(&desc).unwrap_or_else(|status| panic!("{}", describe(&status)))
    }

    /// A file on the disk, and what is in it.
    pub fn file(&self, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
        let path = self.dir.path().join(name);
        let content = pattern(len);
        fs::write(&path, &content).expect("write a file");
        File::open(&path).and_then(|file| file.sync_all()).expect("sync it");
        (path, content)
    }

    /// A load of a whole file into a buffer of its size.
    pub fn load(&self) -> TransferRequest {
        let (path, _) = self.file("source", LEN);
        request(self.allocate(LEN).fd, open(&path, OFlags::RDONLY), LEN)
    }

    /// A save of a whole buffer to the start of a file.
    pub fn save(&self, target: &Path) -> TransferRequest {
        TransferRequest {
            direction: Direction::SAVE,
            ..request(self.allocate(LEN).fd, open(target, OFlags::WRONLY), LEN)
        }
    }
}

/// Runs a test on every declared instance. A device that declares none fails.
pub fn on_every_instance(test: impl Fn(&Device)) {
    let instances = declared_instances(INTERFACE)
        .unwrap_or_else(|status| panic!("{INTERFACE}: {}", describe(&status)));
    assert!(!instances.is_empty(), "no manifest of the device declares {INTERFACE}");
    for instance in instances {
        let name = format!("{INTERFACE}/{instance}");
        println!("{name}");
        let service = lookup_within(&name, Duration::from_secs(10))
            .unwrap_or_else(|status| panic!("{name}: {}", describe(&status)));
        test(&Device { service, dir: TempDir::new_in(parent()).expect("a folder") });
    }
}

/// As [`on_every_instance`], for tests that may not run beside each other.
pub fn on_every_instance_alone(test: impl Fn(&Device)) {
    // A lock of files, because Android runs each test in a process of its own.
    let folder = open(&parent(), OFlags::RDONLY);
    flock(&folder, FlockOperation::LockExclusive).expect("lock the folder of the tests");
    on_every_instance(test);
}

fn parent() -> PathBuf {
    // A phone's /data/local/tmp holds this program and files that may be passed to a HAL.
    env::var_os("DMABUFIO_TEST_DIR").map_or("/data/local/tmp".into(), PathBuf::from)
}

/// Bytes that differ from page to page.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

pub fn open(path: &Path, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::CLOEXEC, Permissions::empty())
        .unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
}

pub fn extent(file_offset: i64, buffer_offset: i64, length: i64) -> Extent {
    Extent { fileOffset: file_offset, bufferOffset: buffer_offset, length }
}

pub fn request(buffer: Option<ParcelFileDescriptor>, file: OwnedFd, len: usize) -> TransferRequest {
    let extents = vec![extent(0, 0, len as i64)];
    TransferRequest { buffer, file: Some(pfd(file)), extents, ..Default::default() }
}

/// A second descriptor of a buffer, to look into it once a request has the first.
pub fn duplicate(buffer: &Option<ParcelFileDescriptor>) -> Option<ParcelFileDescriptor> {
    let fd = borrow(buffer.as_ref().expect("a buffer"));
    Some(pfd(fd.try_clone_to_owned().expect("dup")))
}

/// The content of a buffer, read by the CPU.
pub fn content(buffer: &Option<ParcelFileDescriptor>, len: usize) -> Vec<u8> {
    let fd = borrow(buffer.as_ref().expect("a buffer"));
    let pages = Mapping::new(fd, 0, len, Access::Read).expect("map the buffer");
    dma_buf_sync(fd, uapi::DMA_BUF_SYNC_START | uapi::DMA_BUF_SYNC_READ).expect("begin access");
    let mut bytes = vec![0; len];
    pages.read(0, &mut bytes).expect("read the buffer");
    dma_buf_sync(fd, uapi::DMA_BUF_SYNC_END | uapi::DMA_BUF_SYNC_READ).expect("end access");
    bytes
}

pub fn adds_up(receipt: &Receipt, bytes: usize) {
    assert_eq!(receipt.bytes, bytes as i64, "{receipt:?}");
    let parts = receipt.bytesDirect + receipt.bytesBounced + receipt.bytesBuffered;
    assert_eq!(parts, receipt.bytes, "{receipt:?}");
}

/// Checks that a load that is valid but for `spoil` is refused, and that no byte moved.
pub fn refuses(
    device: &Device,
    exception: ExceptionCode,
    spoil: impl FnOnce(&mut TransferRequest),
) {
    let mut load = device.load();
    let kept = duplicate(&load.buffer);
    spoil(&mut load);
    let status = device.service.transfer(&load).expect_err("the request is wrong");
    expect(&status, exception);
    assert!(content(&kept, LEN).iter().all(|byte| *byte == 0), "bytes moved");
}

pub fn expect(status: &Status, exception: ExceptionCode) {
    assert_eq!(status.exception_code(), exception, "{}", describe(status));
}

/// The code of an error that is the service's own.
pub fn specific(status: &Status) -> Error {
    expect(status, ex::SERVICE_SPECIFIC);
    Error(status.service_specific_error())
}

//! Tests the whole interface over a Unix socket, on any host, without binder in its kernel.

use binder_shim::{
    borrow, caller, connect_socket, describe, ex, exception, impl_interface, into_fd, new_binder,
    pfd, ping, serve_socket, service_error, BinderResult, DeathLink, Dump, ParcelFileDescriptor,
    Strong,
};
use rustix::fs::{fcntl_getfl, memfd_create, MemfdFlags, OFlags};
use rustix::process::{getpid, getuid};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer,
    BufferDesc::BufferDesc,
    Capabilities::Capabilities,
    Error::Error,
    Extent::Extent,
    Heap::Heap,
    IBufferStream::IBufferStream,
    IDmabufIo::{BnDmabufIo, IDmabufIo},
    ITransfer::{BnTransfer, ITransfer},
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    Plan::Plan,
    Receipt::Receipt,
    StreamRequest::StreamRequest,
    SubmitRequest::SubmitRequest,
    SubmitResult::SubmitResult,
    TransferProgress::TransferProgress,
    TransferRequest::TransferRequest,
};

/// Copies one descriptor into the other, and puts the caller into the receipt.
struct Copier;

impl Dump for Copier {}
impl_interface!(Copier);

impl IDmabufIo for Copier {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        let caller = caller();
        Ok(Capabilities {
            pageSize: i64::from(caller.uid),
            maxExtents: caller.pid,
            ..Default::default()
        })
    }

    fn allocate(&self, desc: &BufferDesc) -> BinderResult<Buffer> {
        let memory = memfd_create(desc.tag.as_str(), MemfdFlags::CLOEXEC)
            .map_err(|errno| service_error(Error::NO_MEMORY.0, &errno.to_string()))?;
        Ok(Buffer { fd: Some(pfd(memory)), size: desc.size, heap: Heap::MEMFD })
    }

    fn probe(&self, _file: &ParcelFileDescriptor, extents: &[Extent]) -> BinderResult<Plan> {
        let message = format!("extent {}: length is negative", extents.len());
        Err(exception(ex::ILLEGAL_ARGUMENT, &message))
    }

    fn transfer(&self, request: &TransferRequest) -> BinderResult<Receipt> {
        let (Some(buffer), Some(file)) = (&request.buffer, &request.file) else {
            return Err(exception(ex::NULL_POINTER, "file: missing"));
        };
        let open = |pfd| borrow(pfd).try_clone_to_owned().map(File::from);
        let copy = || std::io::copy(&mut open(file)?, &mut open(buffer)?);
        let bytes = copy().map_err(|error| service_error(Error::IO.0, &error.to_string()))?;
        Ok(Receipt { bytes: bytes as i64, ..Default::default() })
    }

    fn load(&self, _request: &LoadRequest) -> BinderResult<LoadResult> {
        Err(exception(ex::UNSUPPORTED_OPERATION, "load: not in this test"))
    }

    fn submit(&self, _request: &SubmitRequest) -> BinderResult<Strong<dyn ITransfer>> {
        Ok(new_binder!(BnTransfer, Counted::new()))
    }

    fn openStream(
        &self,
        _request: &StreamRequest,
        _buffers: &[ParcelFileDescriptor],
    ) -> BinderResult<Strong<dyn IBufferStream>> {
        Err(exception(ex::UNSUPPORTED_OPERATION, "openStream: not in this test"))
    }
}

/// An object that the client holds.
struct Counted;

/// How many there are.
static COUNTED: AtomicUsize = AtomicUsize::new(0);

impl Counted {
    fn new() -> Self {
        COUNTED.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTED.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Dump for Counted {}
impl_interface!(Counted);

impl ITransfer for Counted {
    fn getProgress(&self) -> BinderResult<TransferProgress> {
        Ok(TransferProgress { bytes: 7, ..Default::default() })
    }

    fn cancel(&self) -> BinderResult<()> {
        Ok(())
    }

    fn getResult(&self) -> BinderResult<SubmitResult> {
        Err(service_error(Error::BUSY.0, "not yet"))
    }

    fn getCompletion(&self) -> BinderResult<ParcelFileDescriptor> {
        let memory = memfd_create("completion", MemfdFlags::CLOEXEC)
            .map_err(|errno| service_error(Error::NO_MEMORY.0, &errno.to_string()))?;
        Ok(pfd(memory))
    }
}

#[test]
fn object_of_a_call_lives_as_long_as_the_clients_last_reference() {
    let bench = Bench::new();
    let object = bench.service.submit(&SubmitRequest::default()).unwrap();
    let second = object.clone();
    drop(object);
    assert_eq!(second.getProgress().unwrap().bytes, 7);
    assert_eq!(second.getResult().unwrap_err().service_specific_error(), Error::BUSY.0);
    assert!(second.cancel().is_ok() && second.getCompletion().is_ok());
    assert_eq!(COUNTED.load(Ordering::SeqCst), 1);
    drop(second);
    let start = Instant::now();
    while COUNTED.load(Ordering::SeqCst) > 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "the service still has it");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A service in this process, and a client of it.
struct Bench {
    service: Strong<dyn IDmabufIo>,
    _directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        serve_in_thread(path.clone());
        Self { service: connect_socket(&path).unwrap(), _directory: directory }
    }
}

fn serve_in_thread(path: PathBuf) {
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        let binder = new_binder!(BnDmabufIo, Copier).as_binder();
        serve_socket(&path, binder, 4, || ready.send(()).unwrap()).unwrap();
    });
    wait.recv().unwrap();
}

fn memory_holding(text: &[u8]) -> File {
    let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn descriptors_go_both_ways() {
    let bench = Bench::new();
    let desc = BufferDesc { size: 4096, tag: "tensor".into() };
    let buffer = bench.service.allocate(&desc).unwrap();
    assert_eq!((buffer.size, buffer.heap), (4096, Heap::MEMFD));

    let mut destination = File::from(into_fd(buffer.fd.unwrap()));
    let request = TransferRequest {
        buffer: Some(pfd(destination.try_clone().unwrap().into())),
        file: Some(pfd(memory_holding(b"weights").into())),
        ..Default::default()
    };
    assert_eq!(bench.service.transfer(&request).unwrap().bytes, 7);
    let mut moved = String::new();
    destination.rewind().unwrap();
    destination.read_to_string(&mut moved).unwrap();
    assert_eq!(moved, "weights");
}

#[test]
fn access_mode_of_descriptor_survives() {
    let file = File::open("/proc/self/exe").unwrap();
    let parcel = pfd(file.into());
    let flags = fcntl_getfl(borrow(&parcel)).unwrap();
    assert_eq!(flags & OFlags::ACCMODE, OFlags::RDONLY);
}

#[test]
fn missing_descriptor_is_refused_with_the_message_of_the_service() {
    let bench = Bench::new();
    // A parcelable without its descriptor either fails to marshal or reaches the service.
    let status = bench.service.transfer(&TransferRequest::default()).unwrap_err();
    assert!(!describe(&status).is_empty());
}

#[test]
fn service_error_keeps_code_and_text() {
    let bench = Bench::new();
    let request = TransferRequest {
        buffer: Some(pfd(File::open("/proc/self/exe").unwrap().into())),
        file: Some(pfd(memory_holding(b"x").into())),
        ..Default::default()
    };
    let status = bench.service.transfer(&request).unwrap_err();
    assert_eq!(status.exception_code(), ex::SERVICE_SPECIFIC);
    assert_eq!(status.service_specific_error(), Error::IO.0);
    assert!(describe(&status).contains("Bad file descriptor"), "{}", describe(&status));
}

#[test]
fn exception_keeps_code_and_text() {
    let bench = Bench::new();
    let file = pfd(memory_holding(b"").into());
    let status = bench.service.probe(&file, &[Extent::default()]).unwrap_err();
    assert_eq!(status.exception_code(), ex::ILLEGAL_ARGUMENT);
    assert!(describe(&status).contains("extent 1: length is negative"), "{}", describe(&status));
}

#[test]
fn caller_is_the_peer_of_the_socket() {
    let bench = Bench::new();
    let capabilities = bench.service.getCapabilities().unwrap();
    assert_eq!(capabilities.pageSize, i64::from(getuid().as_raw()));
    assert_eq!(capabilities.maxExtents, getpid().as_raw_nonzero().get());
}

#[test]
fn living_service_answers_ping_and_can_be_watched() {
    let bench = Bench::new();
    let mut binder = bench.service.as_binder();
    ping(&mut binder).unwrap();
    DeathLink::new(binder, || unreachable!("the service lives on")).unwrap();
}

#[test]
fn calls_run_side_by_side() {
    let bench = Bench::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    bench.service.getCapabilities().unwrap();
                }
            });
        }
    });
}

#[test]
fn absent_socket_fails_at_once() {
    let path = Path::new("/nonexistent/dmabufio.sock");
    assert!(connect_socket::<dyn IDmabufIo>(path).is_err());
}

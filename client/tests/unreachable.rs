//! Tests the client's errors where there is no service, the service dies in the middle of a call,
//! or the service is too old. The services are on sockets.

#![allow(missing_docs, reason = "test code")]

use binder_shim::{
    impl_interface, new_binder, serve_socket, BinderResult, Dump, ParcelFileDescriptor, Strong,
};
use dmabufio_client::{Client, Error, Load};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::Extent;
use dmabufio_core::load::Item;
use dmabufio_core::method::Mode;
use dmabufio_wire::aidl;
use rsbinder::{
    Binder, Interface, Parcel, Remotable, Status, StatusCode, TransactionCode,
    FIRST_CALL_TRANSACTION,
};
use rustix::process::{getpid, kill_process, Signal};
use std::env::{current_exe, var_os};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::{self, sleep};
use std::time::Duration;
use tempfile::tempdir;

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::IBufferStream::IBufferStream;
use aidl::IDmabufIo::{BnDmabufIo, IDmabufIo};
use aidl::ITransfer::ITransfer;
use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::Plan::Plan;
use aidl::Receipt::Receipt;
use aidl::StreamRequest::StreamRequest;
use aidl::SubmitRequest::SubmitRequest;
use aidl::TransferRequest::TransferRequest;

/// Has capabilities, and dies in every other call.
struct Mortal;

impl Dump for Mortal {}
impl_interface!(Mortal);

impl IDmabufIo for Mortal {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        Ok(Capabilities { maxExtents: 7, ..Default::default() })
    }

    fn allocate(&self, _desc: &BufferDesc) -> BinderResult<Buffer> {
        die()
    }

    fn probe(&self, _: &ParcelFileDescriptor, _: &[aidl::Extent::Extent]) -> BinderResult<Plan> {
        die()
    }

    fn transfer(&self, _request: &TransferRequest) -> BinderResult<Receipt> {
        die()
    }

    fn load(&self, _request: &LoadRequest) -> BinderResult<LoadResult> {
        die()
    }

    fn submit(&self, _request: &SubmitRequest) -> BinderResult<Strong<dyn ITransfer>> {
        die()
    }

    fn openStream(
        &self,
        _request: &StreamRequest,
        _buffers: &[ParcelFileDescriptor],
    ) -> BinderResult<Strong<dyn IBufferStream>> {
        die()
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::Kill).expect("kill");
    unreachable!("killed")
}

/// Knows the first call of the interface only.
struct Old;

impl Remotable for Old {
    fn descriptor() -> &'static str {
        "vendor.dmabufio.IDmabufIo"
    }

    fn on_transact(
        &self,
        code: TransactionCode,
        _request: &mut Parcel,
        reply: &mut Parcel,
    ) -> Result<(), StatusCode> {
        match code {
            FIRST_CALL_TRANSACTION => {
                reply.write(&Status::from(StatusCode::Ok))?;
                reply.write(&Capabilities { maxExtents: 7, ..Default::default() })
            }
            _ => Err(StatusCode::UnknownTransaction),
        }
    }

    fn on_dump(&self, _writer: &mut dyn Write, _args: &[String]) -> Result<(), StatusCode> {
        Ok(())
    }
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has normally ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn socket_without_a_service_is_unreachable_by_its_path() {
    let dir = tempdir().expect("a folder");
    let left_behind = dir.path().join("socket");
    drop(UnixListener::bind(&left_behind).expect("bind"));
    for (path, why) in
        [(dir.path().join("nothing"), "no such service"), (left_behind, "cannot connect")]
    {
        let error = Client::socket(&path).err().expect("no service");
        assert_eq!(error.kind(), None, "{error}");
        let start = format!("cannot reach the service: socket {path:?}: {why} (");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[test]
fn service_that_dies_in_the_middle_of_a_call_is_unreachable() {
    const SOCKET: &str = "MORTAL_SERVICE_SOCKET";
    if let Some(path) = var_os(SOCKET) {
        // In the process that this test starts.
        let service = new_binder!(BnDmabufIo, Mortal).as_binder();
        serve_socket(Path::new(&path), service, 2, || ()).expect("serve");
    }
    let dir = tempdir().expect("a folder");
    let socket = dir.path().join("socket");
    let service = Command::new(current_exe().expect("this program"))
        .args(["--exact", "service_that_dies_in_the_middle_of_a_call_is_unreachable"])
        .env(SOCKET, &socket)
        .spawn();
    let mut service = Process(service.expect("start the service"));
    let client = connect(&socket);
    assert_eq!(client.capabilities().expect("it lives").max_extents, 7);
    let error = client.allocate(4096, "").expect_err("it died");
    let status = service.0.wait().expect("wait");
    assert_eq!(status.signal(), Some(Signal::Kill as i32), "{status}");
    let later = client.allocate(4096, "").expect_err("it is dead");
    for error in [error, later] {
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
        let start = "cannot reach the service: it has died (";
        assert!(error.to_string().starts_with(start), "{error}");
    }
}

/// Waits for a service that is starting.
fn connect(socket: &Path) -> Client {
    for _ in 0..500 {
        match Client::socket(socket) {
            Ok(client) => return client,
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
    panic!("no service at {socket:?} within 10 s");
}

#[test]
fn call_that_an_older_service_lacks_is_unsupported() {
    let dir = tempdir().expect("a folder");
    let socket = dir.path().join("socket");
    let path = socket.clone();
    thread::spawn(move || serve_socket(&path, Binder::new(Old).as_binder(), 2, || ()));
    let client = connect(&socket);
    assert_eq!(client.capabilities().expect("known").max_extents, 7);
    let file = File::open(current_exe().expect("this program")).expect("open");
    let extents = vec![Extent { file_offset: 0, buffer_offset: 0, len: 4096 }];
    let items = [Item { size: 4096, extents }];
    for mode in [Mode::Auto, Mode::Direct, Mode::Buffered] {
        let load = Load { mode, ..Load::new(file.as_fd(), &items) };
        let error = client.load(&load).expect_err("unknown");
        assert_eq!(error.kind(), Some(ErrorKind::Unsupported), "{error}");
        let text = "the service does not know this call; it is older than this client";
        assert_eq!(error.to_string(), text);
    }
}

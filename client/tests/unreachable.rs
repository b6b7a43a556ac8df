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
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
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

/// The variable with the socket of a process that is to be the service [`Mortal`].
const SOCKET: &str = "MORTAL_SERVICE_SOCKET";

/// Starts [`Mortal`] as a process. It is this program, which comes to `test` and there to
/// [`be_mortal_if_asked`].
fn start_mortal(test: &str, socket: &Path) -> Process {
    let service = Command::new(current_exe().expect("this program"))
        .args(["--exact", test])
        .env(SOCKET, socket)
        .stdout(Stdio::null())
        .spawn();
    Process(service.expect("start the service"))
}

fn be_mortal_if_asked() {
    if let Some(path) = var_os(SOCKET) {
        let service = new_binder!(BnDmabufIo, Mortal).as_binder();
        serve_socket(Path::new(&path), service, 2, || ()).expect("serve");
    }
}

#[test]
fn call_that_ends_the_service_is_made_three_times_in_all() {
    be_mortal_if_asked();
    let dir = tempdir().expect("a folder");
    let socket = dir.path().join("socket");
    let test = "call_that_ends_the_service_is_made_three_times_in_all";
    let mut service = start_mortal(test, &socket);
    let client = connect(&socket);
    assert_eq!(client.capabilities().expect("it lives").max_extents, 7);
    let (error, deaths) = thread::scope(|scope| {
        let call = scope.spawn(|| client.allocate(4096, "").expect_err("it dies"));
        let mut deaths = 0;
        while !call.is_finished() {
            if let Some(status) = service.0.try_wait().expect("wait") {
                assert_eq!(status.signal(), Some(Signal::Kill as i32), "{status}");
                deaths += 1;
                service = start_mortal(test, &socket);
            }
            sleep(Duration::from_millis(5));
        }
        (call.join().expect("no panic"), deaths)
    });
    assert_eq!(deaths, 3);
    assert!(matches!(error, Error::Died(_)), "{error:?}");
    assert_eq!(error.kind(), None);
    let text = "the service died 3 times before it answered; what it has done is unknown";
    assert_eq!(error.to_string(), text);
    assert_eq!(client.capabilities().expect("the fourth lives").max_extents, 7);
}

#[test]
fn service_that_does_not_start_again_is_given_up_after_ten_seconds() {
    be_mortal_if_asked();
    let dir = tempdir().expect("a folder");
    let socket = dir.path().join("socket");
    let test = "service_that_does_not_start_again_is_given_up_after_ten_seconds";
    let _service = start_mortal(test, &socket);
    let client = connect(&socket);
    let start = Instant::now();
    // Each thread has its own ten seconds, and they pass at the same time.
    let errors = thread::scope(|scope| {
        let calls = [(); 3].map(|()| scope.spawn(|| client.allocate(4096, "").expect_err("dead")));
        calls.map(|call| call.join().expect("no panic"))
    });
    let time = start.elapsed();
    assert!(time >= Duration::from_secs(10) && time < Duration::from_secs(15), "{time:?}");
    for error in errors {
        assert!(matches!(error, Error::Died(_)), "{error:?}");
        let start = format!(
            "the service died and has not come back within 10 s; what it has done is unknown: \
             cannot reach the service: socket {socket:?}: cannot connect ("
        );
        assert!(error.to_string().starts_with(&start), "{error}");
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

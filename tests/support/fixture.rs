//! A service to test, and the requests that tests make.

use super::{file, read_buffer, scratch, vm_heap, vm_kernel, Random};
use binder_shim::{
    borrow, connect_socket, describe, dump_remote, ex, lookup_within, pfd, ExceptionCode,
    ParcelFileDescriptor, Status, Strong,
};
use dmabufio_core::heap::Heap;
use dmabufio_wire::INSTANCE;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::pipe;
use std::collections::HashSet;
use std::env;
use std::fs::{self, DirEntry, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{chown, MetadataExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer, BufferDesc::BufferDesc, Error::Error as Code, Extent::Extent,
    IDmabufIo::IDmabufIo, TransferRequest::TransferRequest,
};

const SERVICE: &str = env!("CARGO_BIN_EXE_dmabufio-service");

/// The service, and a folder for files.
pub struct Fixture {
    pub service: Strong<dyn IDmabufIo>,
    pub heap: Heap,
    pub dir: TempDir,
    /// The process, if this test started it.
    pub child: Option<Child>,
}

impl Fixture {
    pub fn new() -> Self {
        if vm_kernel().is_none() {
            return Self::start(&[]);
        }
        let service = lookup_within(INSTANCE, Duration::from_secs(10))
            .unwrap_or_else(|status| panic!("{INSTANCE}: {}", describe(&status)));
        Self { service, heap: vm_heap().unwrap_or(Heap::Memfd), dir: scratch(), child: None }
    }

    /// A service of this test's own, with more arguments.
    pub fn start(args: &[&str]) -> Self {
        Self::serve(scratch(), Command::new(SERVICE), args)
    }

    /// The same as init starts it on a phone, without privileges. For the VM.
    pub fn start_unprivileged(args: &[&str]) -> Self {
        let dir = scratch();
        // Where it may make its socket, and where it can be started from.
        chown(dir.path(), Some(65_534), Some(65_534)).expect("chown");
        let program = dir.path().join("service");
        fs::copy(SERVICE, &program).expect("copy the service");
        let wrapper = env::var("DMABUFIO_UNPRIVILEGED").expect("xtask vm says how");
        let mut words = wrapper.split(' ');
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(program);
        Self::serve(dir, command, args)
    }

    /// The program of the service.
    pub const PROGRAM: &'static str = SERVICE;

    /// A service that `command` starts, with more arguments.
    pub fn run(command: Command, args: &[&str]) -> Self {
        Self::serve(scratch(), command, args)
    }

    fn serve(dir: TempDir, mut command: Command, args: &[&str]) -> Self {
        let heap = vm_heap().unwrap_or(Heap::Memfd);
        let socket = dir.path().join("socket");
        let child = command
            // Not of each parcel that makes no sense: tests send many.
            .env("RUST_LOG", "error,rsbinder=off")
            .args(["--heap", heap.name(), "--socket"])
            .arg(&socket)
            .args(args)
            .spawn()
            .expect("start the service");
        let mut fixture = None;
        for _ in 0..250 {
            if let Ok(service) = connect_socket(&socket) {
                fixture = Some(service);
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let service = fixture.expect("the service answers within 5 s");
        Self { service, heap, dir, child: Some(child) }
    }

    /// The process of the service.
    pub fn pid(&self) -> String {
        match &self.child {
            Some(child) => child.id().to_string(),
            None => env::var("DMABUFIO_SERVICE_PID").expect("xtask vm names the service"),
        }
    }

    /// What the descriptors of the service are, as `/proc` names them.
    pub fn descriptors(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors");
        // One may be closed meanwhile.
        let links = entries.flatten().flat_map(|entry| fs::read_link(entry.path()));
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }

    /// The buffers that the service holds, by inode, once there are `count` of them and none that
    /// it has `given` away, which it holds for a moment longer.
    pub fn held_buffers(&self, count: usize, given: &HashSet<u64>) -> HashSet<u64> {
        let start = Instant::now();
        loop {
            let buffers = buffers_of(&self.pid());
            if buffers.len() == count && buffers.is_disjoint(given) {
                return buffers;
            }
            let time = start.elapsed();
            assert!(time < Duration::from_secs(10), "{buffers:?}: not {count} beside {given:?}");
            sleep(Duration::from_millis(5));
        }
    }

    /// The dump of the service.
    pub fn dump(&self, args: &[&str]) -> String {
        let (reader, writer) = pipe().expect("pipe");
        dump_remote(&mut self.service.as_binder(), writer, args).expect("dump");
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).expect("read the dump");
        text
    }

    /// The rest of the line of the dump that starts with `key`.
    pub fn dumped(&self, key: &str) -> String {
        let text = self.dump(&[]);
        let value = text.lines().find_map(|line| line.trim().strip_prefix(key));
        value.unwrap_or_else(|| panic!("no line '{key}' in {text}")).to_owned()
    }

    pub fn allocate(&self, size: i64) -> Buffer {
        let desc = BufferDesc { size, tag: "test".to_owned() };
        self.service.allocate(&desc).unwrap_or_else(|status| panic!("{}", describe(&status)))
    }

    pub fn file(&self, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
        let content = Random::new(len as u64).bytes(len);
        (file(self.dir.path(), name, &content), content)
    }

    /// A valid load of a file of 64 KiB into a buffer of the same size.
    pub fn valid(&self) -> TransferRequest {
        let (path, _) = self.file("valid", 65_536);
        request(self.allocate(65_536).fd, File::open(path).expect("open"), &[(0, 0, 65_536)])
    }

    /// Checks that a load that is valid but for `spoil` fails with `exception`, that the message
    /// names `operand`, that no byte moved, and that the service still works.
    pub fn refuses(
        &self,
        exception: ExceptionCode,
        operand: &str,
        spoil: impl FnOnce(&mut TransferRequest),
    ) {
        let mut request = self.valid();
        let buffer = request.buffer.as_ref().map(|fd| borrow(fd).try_clone_to_owned());
        let buffer = buffer.expect("a buffer").expect("dup");
        spoil(&mut request);
        let status = self.service.transfer(&request).expect_err(operand);
        expect(&status, exception, operand);
        let untouched = read_buffer(buffer.as_fd(), self.heap, 65_536);
        assert!(untouched.iter().all(|byte| *byte == 0), "{operand}: bytes moved");
        let receipt = self.service.transfer(&self.valid()).expect("a valid request afterwards");
        assert_eq!(receipt.bytes, 65_536);
    }

    pub fn refuses_file(&self, operand: &str, fd: impl Into<OwnedFd>) {
        let fd = pfd(fd.into());
        self.refuses(ex::ILLEGAL_ARGUMENT, operand, |request| request.file = Some(fd));
    }

    pub fn refuses_buffer(&self, operand: &str, fd: impl Into<OwnedFd>) {
        let fd = pfd(fd.into());
        self.refuses(ex::ILLEGAL_ARGUMENT, operand, |request| request.buffer = Some(fd));
    }

    pub fn refuses_extents(&self, operand: &str, extents: &[(i64, i64, i64)]) {
        self.refuses(ex::ILLEGAL_ARGUMENT, operand, |request| request.extents = list(extents));
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The buffers that a process has, by inode. None if there is no such process.
pub fn buffers_of(pid: &str) -> HashSet<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let is_buffer = |entry: &DirEntry| {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        let link = link.to_string_lossy();
        link.starts_with("/memfd:dmabufio") || link.starts_with("/dmabuf:")
    };
    let inode = |entry: DirEntry| fs::metadata(entry.path()).map(|metadata| metadata.ino());
    // One may be closed meanwhile.
    entries.into_iter().flatten().flatten().filter(is_buffer).flat_map(inode).collect()
}

pub fn list(extents: &[(i64, i64, i64)]) -> Vec<Extent> {
    let one = |&(file, buffer, length)| Extent { fileOffset: file, bufferOffset: buffer, length };
    extents.iter().map(one).collect()
}

pub fn request(
    buffer: Option<ParcelFileDescriptor>,
    file: impl Into<OwnedFd>,
    extents: &[(i64, i64, i64)],
) -> TransferRequest {
    TransferRequest {
        buffer,
        file: Some(pfd(file.into())),
        extents: list(extents),
        ..Default::default()
    }
}

/// A descriptor that names a file and gives no access to it.
pub fn o_path(fixture: &Fixture) -> OwnedFd {
    let (path, _) = fixture.file("path", 65_536);
    rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

pub fn duplicate(fd: &Option<ParcelFileDescriptor>) -> OwnedFd {
    borrow(fd.as_ref().expect("a descriptor")).try_clone_to_owned().expect("dup")
}

/// Whether a call failed with this error of the service.
pub fn failed_with(status: &Status, code: Code) -> bool {
    status.exception_code() == ex::SERVICE_SPECIFIC && status.service_specific_error() == code.0
}

pub fn expect(status: &Status, exception: ExceptionCode, operand: &str) {
    let text = describe(status);
    assert_eq!(status.exception_code(), exception, "{operand}: {text}");
    assert!(text.starts_with(operand), "the message should start with '{operand}': {text}");
}

//! Tests the client with a service that cannot see the page cache: a service in this process, on a
//! socket, whose receipt reports the request.

#![allow(missing_docs, reason = "test code")]

use binder_shim::{
    borrow, ex, exception, impl_interface, new_binder, pfd, serve_socket, BinderResult, Dump,
    ParcelFileDescriptor, Strong,
};
use dmabufio_client::{Client, Load, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::cached_pages;
use dmabufio_core::load::Item;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::receipt::Receipt as CoreReceipt;
use dmabufio_wire::aidl;
use rustix::fs::{fadvise, ftruncate, memfd_create, Advice, MemfdFlags};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use tempfile::TempDir;

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::ExtentPlan::ExtentPlan;
use aidl::FallbackReason::FallbackReason as Reason;
use aidl::Heap::Heap;
use aidl::IDmabufIo::{BnDmabufIo, IDmabufIo};
use aidl::ITransfer::ITransfer;
use aidl::LoadItem::LoadItem;
use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::LoadedItem::LoadedItem;
use aidl::Method::Method as AidlMethod;
use aidl::Mode::Mode as AidlMode;
use aidl::Plan::Plan;
use aidl::Priority::Priority as AidlPriority;
use aidl::Receipt::Receipt;
use aidl::SubmitRequest::SubmitRequest;
use aidl::TransferRequest::TransferRequest;

const LEN: u64 = 1 << 20;

/// Claims what it is asked for. Reads up to `copies` bytes of an extent, all in mode `BUFFERED`. Refuses what
/// has a tag, with its priority and tag.
struct Blind {
    copies: u64,
}

impl Dump for Blind {}
impl_interface!(Blind);

impl Blind {
    fn receipt(
        &self,
        mode: AidlMode,
        file: &Option<ParcelFileDescriptor>,
        extents: &[aidl::Extent::Extent],
    ) -> Receipt {
        let bytes = extents.iter().map(|extent| extent.length).sum();
        if bytes == 0 {
            return Receipt::default();
        }
        let copies = if mode == AidlMode::BUFFERED { LEN } else { self.copies };
        let file = File::from(borrow(file.as_ref().unwrap()).try_clone_to_owned().unwrap());
        for extent in extents {
            let mut read = vec![0; copies.min(extent.length as u64) as usize];
            file.read_exact_at(&mut read, extent.fileOffset as u64).unwrap();
        }
        if mode == AidlMode::BUFFERED {
            return Receipt {
                bytes,
                bytesBuffered: bytes,
                method: AidlMethod::RW_FILE_BUFFERED,
                firstFallback: Reason::REQUESTED,
                ..Default::default()
            };
        }
        let method = AidlMethod::RW_FILE_DIRECT;
        Receipt { bytes, bytesDirect: bytes, method, ..Default::default() }
    }

    fn check_tag(priority: AidlPriority, tag: &str) -> BinderResult<()> {
        match tag {
            "" => Ok(()),
            tag => Err(exception(ex::ILLEGAL_ARGUMENT, &format!("priority {}, {tag}", priority.0))),
        }
    }

    fn buffer() -> Buffer {
        let memory = memfd_create("blind", MemfdFlags::CLOEXEC).unwrap();
        Buffer { fd: Some(pfd(memory)), size: LEN as i64, heap: Heap::SYSTEM }
    }
}

impl IDmabufIo for Blind {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        let methods = vec![AidlMethod::RW_FILE_DIRECT, AidlMethod::RW_FILE_BUFFERED];
        Ok(Capabilities { heap: Heap::SYSTEM, methods, ..Default::default() })
    }

    fn allocate(&self, _desc: &BufferDesc) -> BinderResult<Buffer> {
        Ok(Self::buffer())
    }

    fn probe(
        &self,
        _file: &ParcelFileDescriptor,
        extents: &[aidl::Extent::Extent],
    ) -> BinderResult<Plan> {
        let method = AidlMethod::RW_FILE_DIRECT;
        let plan = |extent: &aidl::Extent::Extent| ExtentPlan {
            bytesDirect: extent.length,
            method,
            ..Default::default()
        };
        Ok(Plan { extents: extents.iter().map(plan).collect() })
    }

    fn transfer(&self, request: &TransferRequest) -> BinderResult<Receipt> {
        Self::check_tag(request.priority, &request.tag)?;
        Ok(self.receipt(request.mode, &request.file, &request.extents))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        Self::check_tag(request.priority, &request.tag)?;
        let item = |item: &LoadItem| LoadedItem {
            buffer: Some(Self::buffer()),
            receipt: Some(self.receipt(request.mode, &request.file, &item.extents)),
            ..Default::default()
        };
        Ok(LoadResult { items: request.items.iter().map(item).collect() })
    }

    fn submit(&self, _request: &SubmitRequest) -> BinderResult<Strong<dyn ITransfer>> {
        Err(exception(ex::UNSUPPORTED_OPERATION, "no test here submits"))
    }
}

/// A client of [`Blind`], and a file of the client's.
struct Fixture {
    client: Client,
    path: PathBuf,
    buffer: OwnedFd,
    _dir: TempDir,
}

impl Fixture {
    fn new(copies: u64) -> Self {
        // Beside the build's own files: /tmp may be a tmpfs, which does no direct I/O.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (socket, path) = (dir.path().join("socket"), dir.path().join("file"));
        fs::write(&path, vec![7; LEN as usize]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        serve(&socket, copies);
        let buffer = memfd_create("buffer", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&buffer, LEN).unwrap();
        Self { client: Client::socket(&socket).unwrap(), path, buffer, _dir: dir }
    }

    fn cold(&self) -> File {
        let file = File::open(&self.path).unwrap();
        fadvise(&file, 0, 0, Advice::DontNeed).unwrap();
        file
    }

    /// The first `len` bytes are cached, and nothing else.
    fn cached_to(&self, len: u64) -> File {
        let file = self.cold();
        fadvise(&file, 0, 0, Advice::Random).unwrap();
        file.read_exact_at(&mut vec![0; len as usize], 0).unwrap();
        let rest = cached_pages(file.as_fd(), len, LEN - len).unwrap();
        assert_eq!(rest, 0, "readahead");
        file
    }

    fn cached(&self) -> File {
        fs::read(&self.path).unwrap();
        File::open(&self.path).unwrap()
    }

    /// Loads by `transfer` and by `load`, which must agree.
    fn load(&self, open: impl Fn() -> File, mode: Mode) -> CoreReceipt {
        self.load_extents(open, mode, &[Extent { file_offset: 0, buffer_offset: 0, len: LEN }])
    }

    fn load_extents(&self, open: impl Fn() -> File, mode: Mode, extents: &[Extent]) -> CoreReceipt {
        let file = open();
        let (buffer, file) = (self.buffer.as_fd(), file.as_fd());
        let transfer = Transfer { mode, ..Transfer::new(buffer, file, extents, Direction::Load) };
        let receipt = self.client.transfer(&transfer).unwrap();
        let items = [Item { size: LEN, extents: extents.to_vec() }];
        let mut loaded =
            self.client.load(&Load { mode, ..Load::new(open().as_fd(), &items) }).unwrap();
        assert_eq!(loaded.remove(0).unwrap().receipt, receipt);
        receipt
    }
}

fn serve(socket: &Path, copies: u64) {
    let (ready, wait) = mpsc::channel();
    let socket = socket.to_owned();
    thread::spawn(move || {
        let binder = new_binder!(BnDmabufIo, Blind { copies }).as_binder();
        serve_socket(&socket, binder, 2, || ready.send(()).unwrap()).unwrap();
    });
    wait.recv().unwrap();
}

#[test]
fn cached_file_is_copied_in_mode_auto_as_predicted() {
    let fixture = Fixture::new(0);
    let receipt = fixture.load(|| fixture.cached(), Mode::Auto);
    assert_eq!((receipt.direct, receipt.buffered), (0, LEN));
    assert_eq!(receipt.first_fallback, Some(FallbackReason::Resident));
    let extents = [Extent { file_offset: 0, buffer_offset: 0, len: LEN }];
    let plan = fixture.client.probe(fixture.cached().as_fd(), &extents).unwrap()[0];
    assert_eq!((plan.direct, plan.buffered), (0, LEN));
    assert_eq!((plan.method, plan.reason), (receipt.method, receipt.first_fallback));
}

/// Two runs: the halves of the file change places in the buffer.
const HALVES: [Extent; 2] = [
    Extent { file_offset: 0, buffer_offset: LEN / 2, len: LEN / 2 },
    Extent { file_offset: LEN / 2, buffer_offset: 0, len: LEN / 2 },
];

#[test]
fn half_cached_file_is_decided_run_by_run_as_predicted() {
    let fixture = Fixture::new(0);
    let open = || fixture.cached_to(LEN / 2 + 4096 * 32);
    let predicted = fixture.client.probe(open().as_fd(), &HALVES).unwrap();
    assert_eq!(
        (predicted[0].buffered, predicted[0].reason),
        (LEN / 2, Some(FallbackReason::Resident))
    );
    assert_eq!((predicted[1].direct, predicted[1].reason), (LEN / 2, None));
    let receipt = fixture.load_extents(open, Mode::Auto, &HALVES);
    assert_eq!((receipt.direct, receipt.buffered), (LEN / 2, LEN / 2));
    assert_eq!(receipt.first_fallback, Some(FallbackReason::Resident));
    assert!(receipt.checked);
}

#[test]
fn copied_run_leaves_what_was_absent_absent_and_what_was_cached_cached() {
    let fixture = Fixture::new(0);
    let cached = LEN / 2 + LEN / 4;
    let receipt = fixture.load(|| fixture.cached_to(cached), Mode::Auto);
    assert_eq!((receipt.direct, receipt.buffered), (0, LEN));
    let file = File::open(&fixture.path).unwrap();
    let pages = |from, len| cached_pages(file.as_fd(), from, len).unwrap();
    assert_eq!((pages(0, cached), pages(cached, LEN - cached)), (cached / 4096, 0));
}

/// Whoever reads the file meanwhile keeps what the page cache holds for them.
#[test]
fn direct_load_drops_nothing_from_the_page_cache() {
    let fixture = Fixture::new(LEN / 4);
    let receipt = fixture.load(|| fixture.cached_to(0), Mode::Auto);
    assert_eq!((receipt.direct, receipt.buffered), (LEN, 0));
    let file = File::open(&fixture.path).unwrap();
    assert!(cached_pages(file.as_fd(), 0, LEN / 4).unwrap() > 0);
}

#[test]
fn cold_file_goes_direct_in_mode_auto_as_predicted() {
    let fixture = Fixture::new(0);
    let receipt = fixture.load(|| fixture.cold(), Mode::Auto);
    assert_eq!((receipt.direct, receipt.buffered), (LEN, 0));
    let extents = [Extent { file_offset: 0, buffer_offset: 0, len: LEN }];
    let plan = fixture.client.probe(fixture.cold().as_fd(), &extents).unwrap()[0];
    assert_eq!((plan.direct, plan.buffered, plan.reason), (LEN, 0, None));
}

#[test]
fn cached_file_goes_direct_in_mode_direct() {
    let fixture = Fixture::new(0);
    let receipt = fixture.load(|| fixture.cached(), Mode::Direct);
    assert_eq!((receipt.direct, receipt.buffered), (LEN, 0));
    assert!(!receipt.checked, "all was cached before, so that the page cache tells nothing");
}

#[test]
fn cached_file_keeps_the_reason_of_mode_buffered() {
    let fixture = Fixture::new(0);
    let receipt = fixture.load(|| fixture.cached(), Mode::Buffered);
    assert_eq!(receipt.first_fallback, Some(FallbackReason::Requested));
}

#[test]
fn direct_load_that_the_page_cache_does_not_show_is_checked() {
    let fixture = Fixture::new(0);
    for mode in [Mode::Auto, Mode::Direct] {
        let receipt = fixture.load(|| fixture.cold(), mode);
        assert_eq!((receipt.direct, receipt.checked), (LEN, true), "{mode:?}");
    }
}

#[test]
fn direct_load_that_the_page_cache_shows_was_copied() {
    let fixture = Fixture::new(LEN);
    for mode in [Mode::Auto, Mode::Direct] {
        let receipt = fixture.load(|| fixture.cold(), mode);
        assert_eq!((receipt.direct, receipt.buffered), (0, LEN), "{mode:?}");
        assert_eq!(receipt.method, Some(Method::RwFileBuffered), "{mode:?}");
        assert_eq!(receipt.first_fallback, Some(FallbackReason::FileNotDirect), "{mode:?}");
        assert!(!receipt.checked, "{mode:?}");
    }
}

#[test]
fn priority_and_tag_reach_the_service() {
    let fixture = Fixture::new(0);
    let file = fixture.cold();
    let extents = [Extent { file_offset: 0, buffer_offset: 0, len: LEN }];
    let items = [Item { size: LEN, extents: extents.to_vec() }];
    for (priority, number) in [
        (Priority::Interactive, AidlPriority::INTERACTIVE.0),
        (Priority::Normal, AidlPriority::NORMAL.0),
        (Priority::Background, AidlPriority::BACKGROUND.0),
    ] {
        let said = format!("priority {number}, mine");
        let (buffer, tag) = (fixture.buffer.as_fd(), "mine");
        let transfer = Transfer::new(buffer, file.as_fd(), &extents, Direction::Load);
        let error = fixture.client.transfer(&Transfer { priority, tag, ..transfer }).unwrap_err();
        assert!(error.to_string().contains(&said), "{error}");
        let load = Load { priority, tag, ..Load::new(file.as_fd(), &items) };
        let error = fixture.client.load(&load).unwrap_err();
        assert!(error.to_string().contains(&said), "{error}");
    }
}

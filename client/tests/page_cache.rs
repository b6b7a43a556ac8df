//! Tests the client with a service that cannot see the page cache: a service in this process, on a
//! socket, whose receipt reports the request.

#![allow(missing_docs, reason = "test code")]

use binder_shim::{
    borrow, ex, exception, impl_interface, new_binder, pfd, serve_socket, BinderResult, Dump,
    ParcelFileDescriptor, Strong,
};
use dmabufio_client::{Client, Filled, Load, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::cached_pages;
use dmabufio_core::heap::{Allocator, Heap as CoreHeap};
use dmabufio_core::load::Item;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::receipt::Receipt as CoreReceipt;
use dmabufio_wire::aidl;
use rustix::fs::{fadvise, ftruncate, memfd_create, Advice, MemfdFlags, OFlags};
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::mpsc;
use std::thread;
use tempfile::TempDir;

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::ExtentPlan::ExtentPlan;
use aidl::FallbackReason::FallbackReason as Reason;
use aidl::Heap::Heap;
use aidl::IBufferStream::IBufferStream;
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
use aidl::StreamRequest::StreamRequest;
use aidl::SubmitRequest::SubmitRequest;
use aidl::TransferRequest::TransferRequest;

const LEN: u64 = 4 << 20;
const PAGE: u64 = 4096;

/// Loads. Its receipt claims direct I/O, but the first `copies` bytes of an extent go through the
/// page cache; in mode `BUFFERED` all do, and the receipt reports this. Refuses a request with a
/// tag; the message has the priority and the tag.
struct Blind {
    copies: u64,
}

impl Dump for Blind {}
impl_interface!(Blind);

impl Blind {
    fn load(
        &self,
        mode: AidlMode,
        file: BorrowedFd<'_>,
        buffer: BorrowedFd<'_>,
        extents: &[aidl::Extent::Extent],
    ) -> Receipt {
        let bytes = extents.iter().map(|extent| extent.length).sum();
        if bytes == 0 {
            return Receipt::default();
        }
        let buffered = mode == AidlMode::BUFFERED;
        let copies = if buffered { LEN } else { self.copies };
        let buffer = File::from(buffer.try_clone_to_owned().unwrap());
        let direct = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .unwrap();
        let file = File::from(file.try_clone_to_owned().unwrap());
        for extent in extents {
            let (from, to) = (extent.fileOffset as u64, extent.bufferOffset as u64);
            let len = extent.length as u64;
            let copied = copies.min(len);
            for (file, start, end) in [(&file, 0, copied), (&direct, copied, len)] {
                // Direct I/O needs memory at a page boundary.
                let mut memory = vec![0; (end - start + PAGE) as usize];
                let at = memory.as_ptr().align_offset(PAGE as usize);
                let moved = &mut memory[at..at + (end - start) as usize];
                file.read_exact_at(moved, from + start).unwrap();
                buffer.write_all_at(moved, to + start).unwrap();
            }
        }
        if buffered {
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

    fn buffer(size: i64) -> Buffer {
        let heap = Allocator::open(CoreHeap::Memfd).unwrap();
        let memory = heap.allocate(size as u64).unwrap().fd;
        Buffer { fd: Some(pfd(memory)), size, heap: Heap::MEMFD }
    }
}

impl IDmabufIo for Blind {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        let methods = vec![AidlMethod::RW_FILE_DIRECT, AidlMethod::RW_FILE_BUFFERED];
        Ok(Capabilities { heap: Heap::SYSTEM, methods, ..Default::default() })
    }

    fn allocate(&self, desc: &BufferDesc) -> BinderResult<Buffer> {
        Ok(Self::buffer(desc.size))
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
        let (file, buffer) = (request.file.as_ref().unwrap(), request.buffer.as_ref().unwrap());
        Ok(self.load(request.mode, borrow(file), borrow(buffer), &request.extents))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        Self::check_tag(request.priority, &request.tag)?;
        let file = borrow(request.file.as_ref().unwrap());
        let load = |item: &LoadItem| {
            let buffer = Self::buffer(item.size);
            let fd = borrow(buffer.fd.as_ref().unwrap());
            let receipt = self.load(request.mode, file, fd, &item.extents);
            LoadedItem { receipt: Some(receipt), buffer: Some(buffer), ..Default::default() }
        };
        Ok(LoadResult { items: request.items.iter().map(load).collect() })
    }

    fn submit(&self, _request: &SubmitRequest) -> BinderResult<Strong<dyn ITransfer>> {
        Err(exception(ex::UNSUPPORTED_OPERATION, "no test here submits"))
    }

    fn openStream(
        &self,
        _request: &StreamRequest,
        _buffers: &[ParcelFileDescriptor],
    ) -> BinderResult<Strong<dyn IBufferStream>> {
        Err(exception(ex::UNSUPPORTED_OPERATION, "no test here opens a stream"))
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
        fs::write(&path, content(0, LEN)).unwrap();
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
        self.cached_in(slice::from_ref(&(0..len)))
    }

    /// These ranges are cached, and nothing else.
    fn cached_in(&self, ranges: &[Range<u64>]) -> File {
        let file = self.cold();
        fadvise(&file, 0, 0, Advice::Random).unwrap();
        for range in ranges {
            let len = range.end - range.start;
            file.read_exact_at(&mut vec![0; len as usize], range.start).unwrap();
        }
        let cached: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert_eq!(cached_pages(file.as_fd(), 0, LEN).unwrap(), cached / PAGE, "readahead");
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

/// The content of the file at `offset`: every page repeats its own number.
fn content(offset: u64, len: u64) -> Vec<u8> {
    let pages = offset / PAGE..(offset + len) / PAGE;
    pages.flat_map(|page| page.to_le_bytes().repeat(PAGE as usize / 8)).collect()
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
    let open = || fixture.cached_to(LEN / 2 + PAGE * 32);
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
    assert_eq!((pages(0, cached), pages(cached, LEN - cached)), (cached / PAGE, 0));
}

#[test]
fn items_of_one_load_are_split_by_what_the_page_cache_holds() {
    const K: u64 = 1 << 10;
    let fixture = Fixture::new(0);
    let file = fixture.cached_in(&[0..768 * K, 2048 * K..2560 * K]);
    let extent = |file_offset, buffer_offset, len| Extent { file_offset, buffer_offset, len };
    let items = [
        // Resident, except the last quarter.
        Item { size: 1024 * K, extents: vec![extent(0, 0, 1024 * K)] },
        // Cold.
        Item { size: 1024 * K, extents: vec![extent(1024 * K, 0, 1024 * K)] },
        // A resident run and a cold one.
        Item {
            size: 1024 * K,
            extents: vec![extent(2048 * K, 512 * K, 512 * K), extent(3072 * K, 0, 512 * K)],
        },
    ];
    let loaded = fixture.client.load(&Load::new(file.as_fd(), &items)).unwrap();
    let expected = [
        (0, 1024 * K, Some(FallbackReason::Resident), false),
        (1024 * K, 0, None, true),
        (512 * K, 512 * K, Some(FallbackReason::Resident), true),
    ];
    assert_eq!(loaded.len(), items.len());
    for (i, (filled, item)) in loaded.into_iter().zip(&items).enumerate() {
        let Filled { buffer, receipt } = filled.unwrap();
        let counted = (receipt.direct, receipt.buffered, receipt.first_fallback, receipt.checked);
        assert_eq!(counted, expected[i], "item {i}");
        for extent in &item.extents {
            let mut data = vec![0; extent.len as usize];
            buffer.read(extent.buffer_offset, &mut data).unwrap();
            assert!(data == content(extent.file_offset, extent.len), "item {i}, {extent}");
        }
    }
    let cached = |range: Range<u64>| {
        cached_pages(file.as_fd(), range.start, range.end - range.start).unwrap() * PAGE
    };
    assert_eq!(cached(0..768 * K), 768 * K, "the resident part of the first item");
    assert_eq!(cached(768 * K..2048 * K), 0, "the rest of the first item, and the second item");
    assert_eq!(cached(2048 * K..2560 * K), 512 * K, "the resident run of the third item");
    assert_eq!(cached(2560 * K..LEN), 0, "the cold run of the third item");
}

/// The load keeps the pages that another process reads meanwhile.
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

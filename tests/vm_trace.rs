//! What the kernel's own trace of the block layer says of a transfer: the sectors that its threads
//! read are those that the receipt calls direct, and nothing else is. And the events that the
//! service itself writes to the trace.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::pfd;
use dmabufio_core::buffer::Buffer;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Mode};
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use rustix::fs::{fstat, major, minor, OFlags};
use rustix::thread::gettid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::device::run;
use support::disks::Disks;
use support::fixture::{duplicate, list, request, Fixture};
use support::{
    allocate, heaps, is_patched, make_cold, open, read_buffer, write_buffer, Random, PAGE,
};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction as WireDirection, Durability::Durability as WireDurability,
    LoadItem::LoadItem, LoadRequest::LoadRequest, LoadedItem::LoadedItem,
    SubmitRequest::SubmitRequest, TransferRequest::TransferRequest,
};

const LEN: u64 = 4 << 20;

/// The mount point of tracefs.
fn tracefs() -> &'static Path {
    let root = Path::new("/sys/kernel/tracing");
    if !root.join("instances").exists() {
        run(Command::new("mount").args(["-t", "tracefs", "none"]).arg(root));
    }
    root
}

/// An instance of the kernel's trace, which records what this thread and those that it starts ask of
/// one disk.
struct Trace(PathBuf);

/// Bytes of file data that were asked for; metadata is left out.
#[derive(Debug, Default, PartialEq)]
struct Traffic {
    /// Read by direct I/O: what was asked for, and no more.
    read: u64,
    /// Read into the page cache, which is always with read-ahead.
    read_ahead: u64,
    written: u64,
}

impl Trace {
    fn of(file: &File) -> Self {
        let dir =
            tracefs().join("instances").join(format!("dmabufio-{}", gettid().as_raw_nonzero()));
        fs::create_dir(&dir).expect("an instance of the trace");
        let trace = Self(dir);
        let device = fstat(file).expect("fstat").st_dev;
        // As the kernel numbers devices for itself.
        let filter = format!("dev == {}", major(device) << 20 | minor(device));
        trace.set("events/block/block_bio_queue/filter", &filter);
        // And by the threads that it starts.
        trace.set("options/event-fork", "1");
        trace.set("set_event_pid", &gettid().as_raw_nonzero().to_string());
        trace.set("events/block/block_bio_queue/enable", "1");
        trace
    }

    fn set(&self, name: &str, value: &str) {
        fs::write(self.0.join(name), value).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// What `work` asks of the disk.
    fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Traffic) {
        self.set("trace", "");
        let done = work();
        let text = fs::read_to_string(self.0.join("trace")).expect("read the trace");
        let mut traffic = Traffic::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // "... block_bio_queue: 8,0 RA 12345 + 256 [vm_trace]"
            let (_, event) = line.split_once("block_bio_queue: ").expect("an event");
            let words: Vec<&str> = event.split_whitespace().collect();
            let bytes = 512 * words[4].parse::<u64>().expect("a number of sectors");
            match words[1] {
                kind if kind.contains('M') => {}
                kind if kind.starts_with('R') && kind.contains('A') => traffic.read_ahead += bytes,
                kind if kind.starts_with('R') => traffic.read += bytes,
                kind if kind.starts_with('W') => traffic.written += bytes,
                _ => {}
            }
        }
        (done, traffic)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A file, and what is in it.
struct Subject {
    on: &'static str,
    path: PathBuf,
    content: Vec<u8>,
    _disks: Disks,
}

/// Held by the test that runs: a program that another starts would keep a trace from being removed.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subjects() -> impl Iterator<Item = Subject> {
    ["f2fs", "ext4"].into_iter().map(|on| {
        let mut disks = Disks::new();
        let content = Random::new(1).bytes(LEN as usize);
        let path = disks.file(on, "traced", &content);
        Subject { on, path, content, _disks: disks }
    })
}

/// Buffers that direct I/O can reach here, and the flags that a descriptor needs for that.
fn direct_ways() -> Vec<(Heap, OFlags)> {
    let mut ways = vec![(Heap::Memfd, OFlags::DIRECT)];
    if heaps().contains(&Heap::SystemDirect) {
        ways.push((Heap::SystemDirect, OFlags::DIRECT));
    }
    if is_patched() {
        ways.push((Heap::System, OFlags::empty()));
        ways.push((Heap::System, OFlags::DIRECT));
    }
    ways
}

impl Subject {
    /// Transfers with one buffer and says what the disk was asked. A load is checked.
    fn transfer(
        &self,
        (heap, flags): (Heap, OFlags),
        extents: &[Extent],
        direction: Direction,
        mode: Mode,
    ) -> (Receipt, Traffic) {
        let buffer = allocate(heap, LEN);
        if direction == Direction::Save {
            write_buffer(buffer.as_fd(), heap, &self.content);
        }
        let access = match direction {
            Direction::Load => OFlags::RDONLY,
            Direction::Save => OFlags::WRONLY,
        };
        let file = open(&self.path, access | flags);
        let trace = Trace::of(&file);
        let (receipt, traffic) = trace.during(|| {
            transfer(&Request {
                buffer: &Buffer::new(buffer.as_fd(), heap).expect("a buffer"),
                file: &RegularFile::new(file.as_fd(), heap).expect("a file"),
                extents,
                direction,
                mode,
                durability: Durability::None,
            })
            .unwrap_or_else(|error| panic!("{} {heap} {mode:?}: {error}", self.on))
        });
        if direction == Direction::Load {
            let all = read_buffer(buffer.as_fd(), heap, LEN as usize);
            for e in extents {
                let from = e.file_offset as usize..e.file_end() as usize;
                let to = e.buffer_offset as usize..e.buffer_end() as usize;
                assert!(all[to] == self.content[from], "{} {heap}: {e}", self.on);
            }
        }
        println!("{} {heap} {direction:?} {mode:?}: {receipt:?} {traffic:?}", self.on);
        (receipt, traffic)
    }
}

fn extent(file_offset: u64, buffer_offset: u64, len: u64) -> Extent {
    Extent { file_offset, buffer_offset, len }
}

/// Aligned, scattered with unaligned ends, and many that are one.
fn requests() -> Vec<Vec<Extent>> {
    vec![
        vec![extent(0, 0, LEN)],
        (0..16).map(|i| extent(i * (256 << 10) + 77, i * (128 << 10) + 77, 100_000)).collect(),
        (0..64).map(|i| extent(i * 5000 + 123, i * 5000 + 123, 5000)).collect(),
    ]
}

#[test]
fn sectors_read_are_those_that_the_receipt_calls_direct() {
    let _turn = turn();
    for subject in subjects() {
        for way in direct_ways() {
            for (extents, mode) in
                requests().iter().flat_map(|e| [(e, Mode::Direct), (e, Mode::Auto)])
            {
                make_cold(&subject.path);
                let (receipt, traffic) = subject.transfer(way, extents, Direction::Load, mode);
                assert!(receipt.direct > 0, "{} {way:?}: {receipt:?}", subject.on);
                assert_eq!(receipt.buffered, 0, "{} {way:?}: {receipt:?}", subject.on);
                // Through a descriptor with O_DIRECT, edges are read directly too: the block that
                // they lie in, at each end.
                let edges = match way.1.contains(OFlags::DIRECT) {
                    true => 2 * PAGE * extents.len() as u64,
                    false => 0,
                };
                let right = receipt.direct..=receipt.direct + edges;
                let what = || format!("{} {way:?}: {traffic:?}, {receipt:?}", subject.on);
                assert!(right.contains(&traffic.read), "{}", what());
                if receipt.bounced == 0 {
                    assert_eq!(traffic, Traffic { read: receipt.direct, ..Traffic::default() });
                }
            }
        }
    }
}

#[test]
fn sectors_written_are_those_that_the_receipt_calls_direct() {
    let _turn = turn();
    for subject in subjects() {
        for way in direct_ways() {
            let extents: Vec<_> =
                (0..8).map(|i| extent(i * (512 << 10), i * (256 << 10), 128 << 10)).collect();
            make_cold(&subject.path);
            let (receipt, traffic) = subject.transfer(way, &extents, Direction::Save, Mode::Direct);
            assert_eq!(receipt.direct, 1 << 20, "{} {way:?}: {receipt:?}", subject.on);
            assert_eq!(traffic.written, 1 << 20, "{} {way:?}: {traffic:?}", subject.on);
        }
    }
}

#[test]
fn mode_buffered_reads_through_the_page_cache_only() {
    let _turn = turn();
    for subject in subjects() {
        for heap in heaps() {
            for extents in requests() {
                make_cold(&subject.path);
                let way = (heap, OFlags::empty());
                let (receipt, traffic) =
                    subject.transfer(way, &extents, Direction::Load, Mode::Buffered);
                assert_eq!(receipt.direct, 0, "{} {heap}: {receipt:?}", subject.on);
                assert_eq!(traffic.read, 0, "{} {heap}: {traffic:?}", subject.on);
                assert!(
                    traffic.read_ahead >= receipt.buffered,
                    "{} {heap}: {traffic:?}",
                    subject.on
                );
            }
        }
    }
}

#[test]
fn fully_cached_file_is_not_read_again() {
    let _turn = turn();
    for subject in subjects() {
        for heap in heaps() {
            fs::read(&subject.path).expect("fill the page cache");
            let way = (heap, OFlags::empty());
            let (receipt, traffic) =
                subject.transfer(way, &[extent(0, 0, LEN)], Direction::Load, Mode::Auto);
            assert_eq!(traffic, Traffic::default(), "{} {heap}", subject.on);
            if heap == Heap::System && is_patched() {
                assert_eq!(receipt.first_fallback, Some(FallbackReason::Resident));
            }
        }
    }
}

/// Whether the kernel records into its main trace.
fn set_tracing(on: bool) {
    fs::write(tracefs().join("tracing_on"), if on { "1" } else { "0" }).expect("tracing_on");
}

/// A service that may write to the trace, which records.
fn traced_service() -> Fixture {
    set_tracing(true);
    // It opens the trace at its start.
    Fixture::start(&[])
}

/// What the service writes to the trace during `work`: `B io 7`, `C dmabufio bytes in flight|65536`,
/// `E`.
fn events_of<T>(fixture: &Fixture, work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (trace, pid) = (tracefs().join("trace"), fixture.pid());
    fs::write(&trace, "").expect("empty the trace");
    let done = work();
    let text = fs::read_to_string(trace).expect("read the trace");
    let of_service = |line: &str| {
        let (_, event) = line.split_once("tracing_mark_write: ")?;
        let (kind, rest) = event.split_once('|')?;
        match rest.split_once('|') {
            Some((process, what)) if process == pid => Some(format!("{kind} {what}")),
            None if rest == pid => Some(kind.to_owned()),
            _ => None,
        }
    };
    (done, text.lines().filter_map(of_service).collect())
}

/// The names of the spans among `events`, which are all of the request `id`, and all end.
fn spans<'a>(events: &'a [String], id: i64) -> BTreeSet<&'a str> {
    let begins = || events.iter().filter_map(|event| event.strip_prefix("B "));
    let ends = events.iter().filter(|event| *event == "E").count();
    assert_eq!(begins().count(), ends, "{events:?}");
    let suffix = format!(" {id}");
    let name = |span: &'a str| span.strip_suffix(&suffix).expect("the id of the receipt");
    begins().map(name).collect()
}

#[test]
fn service_marks_its_work_in_the_trace_with_the_id_of_the_receipt() {
    let _turn = turn();
    let fixture = traced_service();
    let service = &fixture.service;
    let (path, _) = fixture.file("traced", 100_000);
    let open = || {
        make_cold(&path);
        File::open(&path).expect("open")
    };
    let (buffer, unaligned) = (fixture.allocate(131_072), [(77, 77, 90_000)]);
    let load = || request(Some(pfd(duplicate(&buffer.fd))), open(), &unaligned);
    // The kernel refuses the events, and the service pauses.
    set_tracing(false);
    let first = service.transfer(&load()).expect("load").id;
    set_tracing(true);
    sleep(Duration::from_millis(200));

    let (receipt, events) = events_of(&fixture, || service.transfer(&load()).expect("load"));
    assert!(first > 0 && receipt.id > first, "{first}, {}", receipt.id);
    assert!(receipt.bytesBounced > 0 || !is_patched(), "{receipt:?}");
    let bounce = (receipt.bytesBounced > 0).then_some("bounce");
    let names = |more: &[&'static str]| -> BTreeSet<&str> {
        ["queue", "io"].iter().chain(more).copied().chain(bounce).collect()
    };
    assert_eq!(spans(&events, receipt.id), names(&["transfer"]));

    let save = TransferRequest {
        direction: WireDirection::SAVE,
        durability: WireDurability::FULL,
        file: Some(pfd(File::create(fixture.dir.path().join("saved")).expect("create").into())),
        ..load()
    };
    let (receipt, events) = events_of(&fixture, || service.transfer(&save).expect("save"));
    assert!(
        spans(&events, receipt.id).is_superset(&["transfer", "io", "sync"].into()),
        "{events:?}"
    );

    let item = || LoadItem { size: 131_072, extents: list(&unaligned) };
    let load = || LoadRequest {
        file: Some(pfd(open().into())),
        items: vec![item(), item()],
        ..Default::default()
    };
    let receipts = |items: Vec<LoadedItem>| -> BTreeSet<i64> {
        items.into_iter().map(|item| item.receipt.expect("a receipt").id).collect()
    };
    let (loaded, events) = events_of(&fixture, || service.load(&load()).expect("load"));
    let ids = receipts(loaded.items);
    let id = *ids.first().expect("an id");
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(spans(&events, id), names(&["load"]));

    let (ids, events) = events_of(&fixture, || {
        let batch = SubmitRequest { loads: vec![load(), load()], ..Default::default() };
        let batch = service.submit(&batch).expect("submit");
        let start = Instant::now();
        while !batch.getProgress().expect("progress").ended {
            assert!(start.elapsed() < Duration::from_secs(10), "the batch does not end");
            sleep(Duration::from_millis(5));
        }
        let loads = batch.getResult().expect("the result").loads;
        receipts(loads.into_iter().flat_map(|load| load.items).collect())
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(spans(&events, *ids.first().expect("an id")), names(&["submit"]));
}

#[test]
fn service_counts_bytes_in_flight_in_the_trace_when_they_change() {
    const LEN: i64 = 40 << 20;
    let _turn = turn();
    let fixture = traced_service();
    let (path, _) = fixture.file("counted", LEN as usize);
    let file = File::open(path).expect("open");
    let load = request(fixture.allocate(LEN).fd, file, &[(0, 0, LEN)]);
    let (_, events) = events_of(&fixture, || fixture.service.transfer(&load).expect("load"));
    let counter = |event: &String| event.strip_prefix("C dmabufio bytes in flight|")?.parse().ok();
    let counts: Vec<i64> = events.iter().filter_map(counter).collect();
    // Several turns, and nobody else has one: it does not wait between them.
    let (last, others) = counts.split_last().expect("a count");
    assert!(*last == 0 && others.iter().all(|count| *count > 0), "{counts:?}");
    assert!(counts.windows(2).all(|pair| pair[0] != pair[1]), "{counts:?}");
    assert!(others.len() > 1, "{counts:?}");
}

//! Every method, in both directions, on the file system under test: on this host with what it has,
//! and in the VM on all kernels, disks and file systems.
//!
//! What a transfer wrote is read back by another path: buffers through their own mapping, files by
//! plain reads of a second descriptor.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::{cached_pages, RegularFile};
use dmabufio_core::heap::{half_of_memory, Allocation, Allocator, Heap};
use dmabufio_core::method::{FallbackReason, Method, Mode, Support};
use dmabufio_core::pool::{Class, Pool};
use dmabufio_core::probe;
use dmabufio_core::transfer::piece::MAX_PIECE;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use rustix::fs::{fadvise, Advice, OFlags};
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use support::{
    allocate, file, heaps, is_patched, linux_since, make_cold, open, read_buffer, scratch,
    vm_kernel, write_buffer, Descriptor, Random, PAGE,
};

/// What a run of the matrix varies besides the extent.
#[derive(Debug, Clone, Copy)]
struct Case {
    heap: Heap,
    mode: Mode,
    /// Extra flags of the client's descriptor.
    flags: OFlags,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for heap in heaps() {
        cases.push(Case { heap, mode: Mode::Auto, flags: OFlags::empty() });
        cases.push(Case { heap, mode: Mode::Auto, flags: OFlags::DIRECT });
        cases.push(Case { heap, mode: Mode::Buffered, flags: OFlags::empty() });
    }
    cases
}

/// Whether direct I/O can pin a mapping of its buffers. A udmabuf maps no pages since Linux 6.12.
fn page_backed(heap: Heap) -> bool {
    match heap {
        Heap::System => false,
        Heap::Udmabuf => !linux_since(6, 12),
        Heap::SystemDirect | Heap::Memfd => true,
    }
}

/// The method that moves the body of an aligned extent in this case.
fn expected(case: Case) -> (Method, Option<FallbackReason>) {
    let rw_file = case.heap == Heap::System && is_patched();
    let fallback = match case.heap {
        Heap::Memfd => FallbackReason::Exporter,
        _ if !is_patched() => FallbackReason::NoIoctl,
        _ => FallbackReason::Exporter,
    };
    let page_backed = page_backed(case.heap);
    match case.mode {
        Mode::Buffered if rw_file => (Method::RwFileBuffered, Some(FallbackReason::Requested)),
        Mode::Buffered => (Method::MappedBuffered, Some(FallbackReason::Requested)),
        _ if rw_file => (Method::RwFileDirect, None),
        _ if page_backed && case.flags.contains(OFlags::DIRECT) => {
            (Method::MappedDirect, Some(fallback))
        }
        _ if page_backed => (Method::MappedBuffered, Some(FallbackReason::DescriptorNotDirect)),
        _ => (Method::MappedBuffered, Some(fallback)),
    }
}

fn run(
    case: Case,
    buffer: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    extents: &[Extent],
    direction: Direction,
) -> Result<Receipt> {
    let buffer = Buffer::new(buffer, case.heap)?;
    let file = RegularFile::new(file, case.heap)?;
    let (buffer, file) = (&buffer, &file);
    let durability = Durability::None;
    transfer(&Request { buffer, file, extents, direction, mode: case.mode, durability })
}

/// Loads into a buffer full of a pattern and compares all of the buffer with what must be there.
fn check_load(case: Case, content: &[u8], source: &fs::File, extents: &[Extent], size: usize) {
    let buffer = allocate(case.heap, size as u64);
    let mut expected = Random::new(7).bytes(size);
    write_buffer(buffer.as_fd(), case.heap, &expected);
    let before = Descriptor::at(source, 12345);
    let plan = plan(case, &buffer, source, extents);

    let receipt = run(case, buffer.as_fd(), source.as_fd(), extents, Direction::Load)
        .unwrap_or_else(|error| panic!("{case:?} {extents:?}: {error}"));

    let mut moved = 0;
    for extent in extents {
        let from = (extent.file_offset as usize).min(content.len());
        let to = (extent.file_end() as usize).min(content.len());
        let at = extent.buffer_offset as usize;
        expected[at..at + (to - from)].copy_from_slice(&content[from..to]);
        moved += (to - from) as u64;
    }
    assert!(
        read_buffer(buffer.as_fd(), case.heap, size) == expected,
        "{case:?} {extents:?}: the buffer has other bytes than it should; {receipt:?}"
    );
    assert_eq!(receipt.bytes(), moved, "{case:?} {extents:?}");
    let sum = |count: fn(&ExtentPlan) -> u64| plan.iter().map(count).sum::<u64>();
    let planned = (sum(|plan| plan.direct), sum(|plan| plan.bounced), sum(|plan| plan.buffered));
    assert_eq!(
        planned,
        (receipt.direct, receipt.bounced, receipt.buffered),
        "{case:?} {extents:?}"
    );
    if let [one] = plan[..] {
        assert_eq!(one.reason, receipt.first_fallback, "{case:?} {extents:?}");
    }
    assert_eq!(Descriptor::of(source), before, "{case:?}: the client's descriptor has changed");
}

/// What the probe predicts.
fn plan(case: Case, buffer: &OwnedFd, file: &fs::File, extents: &[Extent]) -> Vec<ExtentPlan> {
    let buffer = Buffer::new(buffer.as_fd(), case.heap).expect("buffer");
    let support = probe::buffer(&buffer, Direction::Load).expect("probe");
    let file = RegularFile::new(file.as_fd(), case.heap).expect("file");
    probe::plan(&file, extents, Direction::Load, case.mode, support).expect("plan")
}

fn extent(file_offset: u64, buffer_offset: u64, len: u64) -> Extent {
    Extent { file_offset, buffer_offset, len }
}

#[test]
fn probe_finds_what_this_kernel_can_do() {
    for heap in heaps() {
        let allocator = Allocator::open(heap).expect("heap");
        let support = probe::heap(&allocator).expect("probe");
        if vm_kernel().is_some() || heap == Heap::Memfd {
            let auto = Case { heap, mode: Mode::Auto, flags: OFlags::DIRECT };
            assert_eq!(support.rw_file.err(), expected(auto).1, "{heap}");
        }
        assert_eq!(support.methods().last(), Some(Method::MappedBuffered), "{heap}");
        let in_load = probe::heap_in_load(&allocator).expect("probe");
        assert_eq!(in_load.rw_file, support.rw_file, "{heap}");
        let of_pages = |support: Support| support.methods().any(|m| m == Method::MappedDirect);
        let pages = page_backed(heap);
        assert_eq!(of_pages(support), pages, "{heap}");
        assert_eq!(of_pages(in_load), heap != Heap::System, "{heap}");
    }
}

#[test]
fn aligned_load_goes_by_the_best_method() {
    let dir = scratch();
    let content = Random::new(1).bytes(1 << 20);
    let path = file(dir.path(), "aligned", &content);
    for case in cases() {
        make_cold(&path);
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, 1 << 20);
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &[extent(0, 0, 1 << 20)], Direction::Load)
                .expect("load");
        let (method, reason) = expected(case);
        assert_eq!(receipt.method, Some(method), "{case:?}");
        assert_eq!(receipt.first_fallback, reason, "{case:?}");
        let direct = matches!(method, Method::RwFileDirect | Method::MappedDirect);
        let counts = if direct { (1 << 20, 0, 0) } else { (0, 0, 1 << 20) };
        assert_eq!((receipt.direct, receipt.bounced, receipt.buffered), counts, "{case:?}");
        assert!(read_buffer(buffer.as_fd(), case.heap, 1 << 20) == content, "{case:?}");
    }
}

#[test]
fn allocator_of_a_buffer_of_pages_can_load_it_directly() {
    let dir = scratch();
    let content = Random::new(22).bytes(1 << 20);
    let path = file(dir.path(), "pages", &content);
    for heap in heaps() {
        let allocation = Allocator::open(heap).expect("heap").allocate(1 << 20).expect("allocate");
        let receipt = transfer(&Request {
            buffer: &allocation.buffer(),
            file: &RegularFile::new(open(&path, OFlags::DIRECT).as_fd(), heap).expect("file"),
            extents: &[extent(0, 0, 1 << 20)],
            direction: Direction::Load,
            mode: Mode::Auto,
            durability: Durability::None,
        })
        .expect("load");
        assert!(receipt.checked || receipt.direct == 0, "{heap}: {receipt:?}");
        let method = match heap {
            Heap::System => expected(Case { heap, mode: Mode::Auto, flags: OFlags::DIRECT }).0,
            Heap::SystemDirect | Heap::Udmabuf | Heap::Memfd => Method::MappedDirect,
        };
        assert_eq!(receipt.method, Some(method), "{heap}: {receipt:?}");
        assert!(read_buffer(allocation.fd.as_fd(), heap, 1 << 20) == content, "{heap}");
    }
}

#[test]
fn random_loads_equal_an_independent_read() {
    let dir = scratch();
    let len = 700_001;
    let content = Random::new(2).bytes(len);
    let path = file(dir.path(), "random", &content);
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        let mut random = Random::new(3);
        for _ in 0..40 {
            let start = random.below(len as u64);
            let mut at = random.below(64 * 1024);
            if random.below(2) == 0 {
                // The same place in the page, so that there is a body.
                at = at / PAGE * PAGE + start % PAGE;
            }
            let count = 1 + random.below(200_000);
            let size = (at + count).next_multiple_of(PAGE) + PAGE;
            check_load(case, &content, &source, &[extent(start, at, count)], size as usize);
        }
    }
}

#[test]
fn edges_of_a_direct_body_are_less_than_a_page_each() {
    let dir = scratch();
    let content = Random::new(4).bytes(300_000);
    let path = file(dir.path(), "edges", &content);
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, 1 << 20);
        let wanted = [extent(4095, 8191, 200_000)];
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load).expect("load");
        if receipt.direct > 0 {
            // 4095..4096 and 204_095 rounded down to a page.
            assert_eq!((receipt.direct, receipt.bounced), (196_608, 1 + 3391), "{case:?}");
        } else {
            assert_eq!((receipt.bounced, receipt.buffered), (0, 200_000), "{case:?}");
        }
    }
}

#[test]
fn at_most_two_blocks_of_a_long_request_are_bounced() {
    let dir = scratch();
    let len = 4 << 20;
    let content = Random::new(23).bytes(len);
    let path = file(dir.path(), "blocks", &content);
    for case in cases() {
        let direct = matches!(expected(case).0, Method::RwFileDirect | Method::MappedDirect);
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, len as u64 + 8 * PAGE);
        let mut random = Random::new(24);
        for _ in 0..20 {
            let count = 65_536 + random.below(1 << 20);
            let start = random.below(len as u64 - count);
            let wanted = [extent(start, random.below(8) * PAGE + start % PAGE, count)];
            make_cold(&path);
            let receipt =
                run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load).expect("load");
            if direct {
                assert_eq!(receipt.buffered, 0, "{case:?} {wanted:?}: {receipt:?}");
                assert!(receipt.bounced < 2 * PAGE, "{case:?} {wanted:?}: {receipt:?}");
                assert_eq!(receipt.bytes(), count, "{case:?} {wanted:?}: {receipt:?}");
            }
            let at = wanted[0].buffer_offset as usize;
            let whole = read_buffer(buffer.as_fd(), case.heap, at + count as usize);
            let from = start as usize;
            assert!(whole[at..] == content[from..from + count as usize], "{case:?} {wanted:?}");
        }
    }
}

#[test]
fn many_extents_are_moved_as_one_request() {
    let dir = scratch();
    let content = Random::new(5).bytes(1 << 20);
    let path = file(dir.path(), "many", &content);
    // Backwards in the file, with a gap of 100 bytes after each in the buffer.
    let extents: Vec<_> =
        (0..100).map(|i| extent((99 - i) * 10_000 + i * 7, i * 10_100, 10_000)).collect();
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        check_load(case, &content, &source, &extents, 1 << 20);
    }
}

#[test]
fn many_small_bodies_are_moved_like_one() {
    let dir = scratch();
    let content = Random::new(17).bytes(4_000_000);
    let path = file(dir.path(), "bodies", &content);
    // Every second page of the file, backwards in the buffer; a long one; two ends of the file.
    let mut extents: Vec<_> =
        (0..200).map(|i| extent(i * 2 * PAGE, (199 - i) * PAGE, PAGE)).collect();
    extents.push(extent(401 * PAGE, 300 * PAGE, 1_000_000));
    extents.push(extent(900 * PAGE, 600 * PAGE, 400_000));
    extents.push(extent(970 * PAGE + 5, 800 * PAGE + 5, 100_000));
    for case in cases() {
        make_cold(&path);
        let source = open(&path, OFlags::RDONLY | case.flags);
        check_load(case, &content, &source, &extents, 4 << 20);
    }
}

#[test]
fn end_of_file_inside_an_extent_is_a_short_count() {
    let dir = scratch();
    for len in [0, 1, 511, 512, 4095, 4096, 4097, 10_000, 65_536] {
        let content = Random::new(6).bytes(len);
        let path = file(dir.path(), &format!("eof-{len}"), &content);
        for case in cases() {
            let source = open(&path, OFlags::RDONLY | case.flags);
            check_load(case, &content, &source, &[extent(0, 0, 128 * 1024)], 128 * 1024);
            check_load(case, &content, &source, &[extent(100, 100, 50_000)], 128 * 1024);
            // Wholly beyond the end, as far as offsets go.
            let beyond = [extent(1 << 40, 0, 4096), extent(len as u64, 8192, 1)];
            check_load(case, &content, &source, &beyond, 128 * 1024);
        }
    }
}

#[test]
fn empty_extent_moves_nothing_and_parts_nothing() {
    let dir = scratch();
    let content = Random::new(25).bytes(100_000);
    let path = file(dir.path(), "empty", &content);
    // The second lies between two that continue each other, the last beyond everything.
    let extents =
        [extent(0, 0, 5000), extent(5000, 99, 0), extent(5000, 5000, 5000), extent(1 << 40, 0, 0)];
    for case in cases() {
        make_cold(&path);
        let source = open(&path, OFlags::RDONLY | case.flags);
        check_load(case, &content, &source, &extents, 16_384);
        make_cold(&path);
        let buffer = allocate(case.heap, 16_384);
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &extents, Direction::Load).expect("load");
        assert!(receipt.bounced < PAGE, "{case:?}: {receipt:?}");
        check_load(case, &content, &source, &[extent(0, 16_384, 0)], 16_384);

        // Not even where an O_DIRECT descriptor could not write.
        let target = open(&path, OFlags::WRONLY | case.flags);
        let nothing = [extent(5, 7, 0)];
        let receipt =
            run(case, buffer.as_fd(), target.as_fd(), &nothing, Direction::Save).expect("save");
        assert_eq!((receipt.bytes(), receipt.method), (0, None), "{case:?}");
        assert!(fs::read(&path).expect("read back") == content, "{case:?}: a byte moved");
    }
}

#[test]
fn file_that_is_shorter_than_it_says_is_a_short_count() {
    const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let content = fs::read(PATH).expect("read");
    let source = fs::File::open(PATH).expect("open");
    assert_eq!(source.metadata().expect("stat").len(), PAGE);
    for case in cases().into_iter().filter(|case| case.flags.is_empty()) {
        for start in [0, 3, content.len(), 100] {
            let buffer = allocate(case.heap, 2 * PAGE);
            let wanted = [extent(start as u64, 5, PAGE)];
            let receipt =
                run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load).expect("load");
            let part = content.get(start..).unwrap_or_default();
            assert_eq!(receipt.bytes(), part.len() as u64, "{case:?} {start}");
            let bytes = read_buffer(buffer.as_fd(), case.heap, 2 * PAGE as usize);
            assert_eq!(&bytes[5..5 + part.len()], part, "{case:?} {start}");
            assert!(bytes[5 + part.len()..].iter().all(|byte| *byte == 0), "{case:?} {start}");
        }
    }
}

#[test]
fn file_that_says_it_has_nothing_and_has_content_is_refused() {
    for path in ["/proc/version", "/proc/self/mem", "/proc/self/cgroup"] {
        let source = fs::File::open(path).expect("open");
        for case in cases() {
            let buffer = allocate(case.heap, PAGE);
            for wanted in [extent(0, 0, PAGE), extent(0, 0, 0)] {
                let error = run(case, buffer.as_fd(), source.as_fd(), &[wanted], Direction::Load)
                    .expect_err("it would be a load of nothing");
                assert_eq!(error.kind(), ErrorKind::BadDescriptor, "{path}: {error}");
                assert!(error.to_string().starts_with("file: says that it has no bytes"));
            }
            let bytes = read_buffer(buffer.as_fd(), case.heap, PAGE as usize);
            assert!(bytes.iter().all(|byte| *byte == 0), "{path}: bytes moved");
        }
    }
}

#[test]
fn random_saves_change_the_extent_and_nothing_else() {
    let dir = scratch();
    let len = 500_000;
    for case in cases() {
        let direct = case.flags.contains(OFlags::DIRECT);
        let mut content = Random::new(8).bytes(len);
        let path = file(dir.path(), "saved", &content);
        let target = open(&path, OFlags::WRONLY | case.flags);
        let size = 512 * 1024;
        let buffer = allocate(case.heap, size as u64);
        let bytes = Random::new(9).bytes(size);
        write_buffer(buffer.as_fd(), case.heap, &bytes);
        let mut random = Random::new(10);
        for _ in 0..40 {
            let (mut start, mut at) = (random.below(len as u64), random.below(200_000));
            let mut count = 1 + random.below(200_000);
            if direct {
                (start, count) = (start / PAGE * PAGE, count.next_multiple_of(PAGE));
            }
            if random.below(2) == 0 {
                at = at / PAGE * PAGE + start % PAGE;
            }
            let before = Descriptor::at(&target, 99);
            let wanted = [extent(start, at, count)];
            let receipt = run(case, buffer.as_fd(), target.as_fd(), &wanted, Direction::Save)
                .unwrap_or_else(|error| panic!("{case:?} {wanted:?}: {error}"));
            assert_eq!(receipt.bytes(), count);
            assert_eq!(Descriptor::of(&target), before);
            let (from, to) = (start as usize, (start + count) as usize);
            content.resize(content.len().max(to), 0);
            content[from..to].copy_from_slice(&bytes[at as usize..(at + count) as usize]);
            assert!(fs::read(&path).expect("read back") == content, "{case:?} {wanted:?}");
        }
        assert!(read_buffer(buffer.as_fd(), case.heap, size) == bytes, "{case:?}: a save wrote");
    }
}

#[test]
fn aligned_save_goes_by_the_best_method_and_is_made_durable() {
    let dir = scratch();
    for case in cases() {
        let path = file(dir.path(), "target", &[]);
        let target = open(&path, OFlags::RDWR | case.flags);
        let buffer = allocate(case.heap, 1 << 20);
        let bytes = Random::new(11).bytes(1 << 20);
        write_buffer(buffer.as_fd(), case.heap, &bytes);
        for durability in [Durability::None, Durability::Data, Durability::Full] {
            let receipt = transfer(&Request {
                buffer: &Buffer::new(buffer.as_fd(), case.heap).expect("buffer"),
                file: &RegularFile::new(target.as_fd(), case.heap).expect("file"),
                extents: &[extent(0, 0, 1 << 20)],
                direction: Direction::Save,
                mode: case.mode,
                durability,
            })
            .expect("save");
            assert_eq!(receipt.method, Some(expected(case).0), "{case:?}");
            assert_eq!(receipt.sync.is_zero(), durability == Durability::None, "{case:?}");
            assert!(fs::read(&path).expect("read back") == bytes, "{case:?}");
        }
    }
}

#[test]
fn receipt_says_what_makes_a_mapping_go_direct() {
    const LEN: u64 = 1 << 20;
    let dir = scratch();
    for heap in heaps().into_iter().filter(|heap| page_backed(*heap)) {
        for (direction, access) in
            [(Direction::Load, OFlags::RDONLY), (Direction::Save, OFlags::WRONLY)]
        {
            let in_file = Random::new(27).bytes(LEN as usize);
            let in_buffer = Random::new(28).bytes(LEN as usize);
            let path = file(dir.path(), "advice", &in_file);
            let buffer = allocate(heap, LEN);
            write_buffer(buffer.as_fd(), heap, &in_buffer);
            let attempt = |mode, flags| {
                let case = Case { heap, mode, flags };
                let file = open(&path, access | flags);
                run(case, buffer.as_fd(), file.as_fd(), &[extent(0, 0, LEN)], direction)
            };

            let refused = attempt(Mode::Direct, OFlags::empty()).expect_err("without O_DIRECT");
            assert_eq!(refused.kind(), ErrorKind::NotDirect, "{heap} {direction:?}: {refused}");
            assert!(
                refused.to_string().ends_with("open it with O_DIRECT to go direct"),
                "{refused}"
            );
            assert!(
                fs::read(&path).expect("read") == in_file,
                "{heap} {direction:?}: a byte moved"
            );
            let now = read_buffer(buffer.as_fd(), heap, LEN as usize);
            assert!(now == in_buffer, "{heap} {direction:?}: a byte moved");

            make_cold(&path);
            let receipt = attempt(Mode::Auto, OFlags::empty()).expect("it is copied");
            assert_eq!((receipt.direct, receipt.buffered), (0, LEN), "{heap} {direction:?}");
            let reason = receipt.first_fallback.expect("a reason").to_string();
            assert!(reason.ends_with("open it with O_DIRECT to go direct"), "{reason}");

            // Who does that gets it, on a file and a buffer that differ again.
            fs::write(&path, &in_file).expect("write");
            make_cold(&path);
            write_buffer(buffer.as_fd(), heap, &in_buffer);
            for mode in [Mode::Auto, Mode::Direct] {
                let receipt = attempt(mode, OFlags::DIRECT).expect("it goes direct");
                assert_eq!((receipt.direct, receipt.buffered), (LEN, 0), "{heap} {direction:?}");
                assert_ne!(receipt.first_fallback, Some(FallbackReason::DescriptorNotDirect));
            }
            let moved = if direction == Direction::Load { &in_file } else { &in_buffer };
            assert!(&fs::read(&path).expect("read") == moved, "{heap} {direction:?}");
            let now = read_buffer(buffer.as_fd(), heap, LEN as usize);
            assert!(&now == moved, "{heap} {direction:?}");
        }
    }
}

#[test]
fn transfer_longer_than_a_piece_is_whole() {
    let dir = scratch();
    let len = MAX_PIECE as usize + 3 * PAGE as usize + 77;
    let content = Random::new(12).bytes(len);
    let path = file(dir.path(), "long", &content);
    let size = len.next_multiple_of(PAGE as usize);
    for heap in heaps() {
        if heap == Heap::Udmabuf {
            // Its default limit is 64 MiB.
            continue;
        }
        let case = Case { heap, mode: Mode::Auto, flags: OFlags::empty() };
        let source = open(&path, OFlags::RDONLY);
        check_load(case, &content, &source, &[extent(0, 0, len as u64)], size);
    }
}

#[test]
fn offsets_above_four_gibibytes_are_loaded_and_saved() {
    let dir = scratch();
    let base = (5 << 30) + 3 * PAGE;
    let content = Random::new(13).bytes(200_000);
    let path = dir.path().join("sparse");
    let sparse = fs::File::create(&path).expect("create");
    sparse.write_all_at(&content, base).expect("write");
    sparse.sync_all().expect("sync");
    for case in cases() {
        let source = open(&path, OFlags::RDWR | case.flags);
        let buffer = allocate(case.heap, 256 * 1024);
        let load = [extent(base, 0, 200_000)];
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &load, Direction::Load).expect("load");
        assert_eq!(receipt.bytes(), 200_000);
        assert!(read_buffer(buffer.as_fd(), case.heap, 200_000) == content, "{case:?}");

        let save = [extent(base + (1 << 30), 0, 192 * 1024)];
        run(case, buffer.as_fd(), source.as_fd(), &save, Direction::Save).expect("save");
        let mut back = vec![0; 192 * 1024];
        sparse_read(&path, &mut back, base + (1 << 30));
        assert!(back == content[..192 * 1024], "{case:?}");
    }
}

fn sparse_read(path: &std::path::Path, out: &mut [u8], offset: u64) {
    fs::File::open(path).and_then(|file| file.read_exact_at(out, offset)).expect("read back");
}

#[test]
fn holes_read_as_zeros() {
    let dir = scratch();
    let path = dir.path().join("holes");
    let sparse = fs::File::create(&path).expect("create");
    sparse.set_len(1 << 20).expect("truncate");
    sparse.write_all_at(&[0xaa; 8192], 65_536).expect("write");
    sparse.sync_all().expect("sync");
    let content = fs::read(&path).expect("read");
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        check_load(case, &content, &source, &[extent(0, 0, 1 << 20)], 1 << 20);
    }
}

#[test]
fn dirty_pages_are_seen_by_a_load() {
    let dir = scratch();
    let mut content = Random::new(14).bytes(256 * 1024);
    let path = file(dir.path(), "dirty", &content);
    for case in cases() {
        let patch = Random::new(15).bytes(10_000);
        let writer = open(&path, OFlags::RDWR);
        writer.write_all_at(&patch, 50_000).expect("write");
        content[50_000..60_000].copy_from_slice(&patch);
        let source = open(&path, OFlags::RDONLY | case.flags);
        check_load(case, &content, &source, &[extent(0, 0, 256 * 1024)], 256 * 1024);
    }
}

#[test]
fn page_cache_is_filled_only_where_a_load_has_to_go_through_it() {
    let dir = scratch();
    let content = Random::new(16).bytes(4 << 20);
    let path = file(dir.path(), "cold", &content);
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        fadvise(&source, 0, 0, Advice::DontNeed).expect("fadvise");
        let cold = cached_pages(source.as_fd(), 0, 0).expect("cachestat");
        let buffer = allocate(case.heap, 4 << 20);
        let wanted = [extent(0, 0, 4 << 20)];
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load).expect("load");
        let warm = cached_pages(source.as_fd(), 0, 0).expect("cachestat");
        let o_direct = case.flags.contains(OFlags::DIRECT);
        if receipt.direct > 0 {
            assert_eq!(warm, cold, "{case:?}: {receipt:?}");
            assert!(receipt.checked, "{case:?}: {receipt:?}");
        } else if o_direct || case.mode == Mode::Auto {
            assert_eq!(warm, cold, "{case:?}: {receipt:?}");
        } else {
            assert_eq!(warm - cold, (4 << 20) / PAGE, "{case:?}: {receipt:?}");
        }
        assert!(read_buffer(buffer.as_fd(), case.heap, 4 << 20) == content, "{case:?}");
    }
}

#[test]
fn copy_leaves_the_page_cache_as_it_was() {
    const LEN: u64 = 4 << 20;
    let dir = scratch();
    let content = Random::new(26).bytes(LEN as usize);
    let path = file(dir.path(), "partly-cached", &content);
    let held = |range: Range<u64>| {
        let source = open(&path, OFlags::RDONLY);
        cached_pages(source.as_fd(), range.start, range.end - range.start).expect("cachestat")
    };
    for case in cases().into_iter().filter(|case| case.mode == Mode::Auto) {
        make_cold(&path);
        // Half a mebibyte in the middle; without readahead, so that it is just that.
        let reader = open(&path, OFlags::RDONLY);
        fadvise(&reader, 0, 0, Advice::Random).expect("fadvise");
        reader.read_exact_at(&mut vec![0; 512 << 10], 1 << 20).expect("read");
        let before = held(0..LEN);
        assert!(before >= (512 << 10) / PAGE, "{before}");
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, LEN + PAGE);
        // Shifted, so that all of it is copied.
        let wanted = [extent(0, 1, LEN)];
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load).expect("load");
        assert_eq!(receipt.buffered, LEN, "{case:?}: {receipt:?}");
        assert_eq!(held(0..LEN), before, "{case:?}");
        assert_eq!(held(1 << 20..(1 << 20) + (512 << 10)), (512 << 10) / PAGE, "{case:?}");
        let bytes = read_buffer(buffer.as_fd(), case.heap, (LEN + PAGE) as usize);
        assert!(bytes[1..][..LEN as usize] == content, "{case:?}");
    }
}

#[test]
fn cached_file_is_copied_unless_direct_is_asked_for() {
    let dir = scratch();
    let content = Random::new(20).bytes(1 << 20);
    let path = file(dir.path(), "warm", &content);
    let wanted = [extent(0, 0, 1 << 20)];
    for case in cases().into_iter().filter(|case| case.mode == Mode::Auto) {
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, 1 << 20);
        let load = |case| {
            fs::read(&path).expect("fill the page cache");
            run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load)
        };
        let receipt = load(case).expect("load");
        if expected(case).0 == Method::RwFileDirect && case.flags.is_empty() {
            assert_eq!(receipt.method, Some(Method::RwFileBuffered), "{case:?}");
            assert_eq!(receipt.first_fallback, Some(FallbackReason::Resident), "{case:?}");
            let receipt = load(Case { mode: Mode::Direct, ..case }).expect("load");
            assert_eq!(receipt.direct, 1 << 20, "{case:?}");
        } else {
            assert_eq!(receipt.first_fallback, expected(case).1, "{case:?}");
        }
        assert!(read_buffer(buffer.as_fd(), case.heap, 1 << 20) == content, "{case:?}");
    }
}

#[test]
fn contiguous_extents_have_edges_at_their_ends_only() {
    let dir = scratch();
    let content = Random::new(21).bytes(1 << 20);
    let path = file(dir.path(), "contiguous", &content);
    // Seven bytes more than a page each, in reverse order.
    let extents: Vec<_> = (0..200).rev().map(|i| extent(i * 4103, i * 4103, 4103)).collect();
    for case in cases() {
        let source = open(&path, OFlags::RDONLY | case.flags);
        make_cold(&path);
        check_load(case, &content, &source, &extents, 1 << 20);
        make_cold(&path);
        let buffer = allocate(case.heap, 1 << 20);
        let receipt =
            run(case, buffer.as_fd(), source.as_fd(), &extents, Direction::Load).expect("load");
        assert!(receipt.bounced < PAGE, "{case:?}: {receipt:?}");
    }
}

#[test]
fn mode_direct_fails_before_any_byte_moves() {
    let dir = scratch();
    let path = file(dir.path(), "strict", &Random::new(17).bytes(1 << 20));
    for case in cases().into_iter().filter(|case| case.mode == Mode::Auto) {
        let case = Case { mode: Mode::Direct, ..case };
        let source = open(&path, OFlags::RDONLY | case.flags);
        let buffer = allocate(case.heap, 1 << 20);
        let pattern = Random::new(18).bytes(1 << 20);
        write_buffer(buffer.as_fd(), case.heap, &pattern);
        // The first extent could go direct, the second is shifted against the buffer.
        let wanted = [extent(0, 0, 65_536), extent(65_536, 65_537, 65_536)];
        let error = run(case, buffer.as_fd(), source.as_fd(), &wanted, Direction::Load)
            .expect_err("a shifted extent cannot go direct");
        assert_eq!(error.kind(), ErrorKind::NotDirect, "{case:?}: {error}");
        assert!(read_buffer(buffer.as_fd(), case.heap, 1 << 20) == pattern, "{case:?}");
        let aligned = [extent(0, 0, 65_536)];
        let outcome = run(case, buffer.as_fd(), source.as_fd(), &aligned, Direction::Load);
        match expected(Case { mode: Mode::Auto, ..case }).0 {
            Method::RwFileDirect | Method::MappedDirect => {
                assert_eq!(outcome.expect("direct").direct, 65_536, "{case:?}");
            }
            _ => {
                let error = outcome.expect_err("nothing goes direct here");
                assert_eq!(error.kind(), ErrorKind::NotDirect, "{case:?}: {error}");
            }
        }
    }
}

#[test]
fn mode_buffered_on_an_o_direct_descriptor_is_refused() {
    let dir = scratch();
    let path = file(dir.path(), "odirect", &[1; 8192]);
    for heap in heaps() {
        let case = Case { heap, mode: Mode::Buffered, flags: OFlags::DIRECT };
        let source = open(&path, OFlags::RDONLY | OFlags::DIRECT);
        let buffer = allocate(heap, 8192);
        let error =
            run(case, buffer.as_fd(), source.as_fd(), &[extent(0, 0, 8192)], Direction::Load)
                .expect_err("O_DIRECT cannot be buffered");
        assert_eq!(error.kind(), ErrorKind::BadDescriptor);
        assert!(error.to_string().contains("O_DIRECT"), "{error}");
    }
}

#[test]
fn unaligned_save_through_an_o_direct_descriptor_names_the_extent() {
    let dir = scratch();
    let content = Random::new(19).bytes(8192);
    let path = file(dir.path(), "odirect-save", &content);
    for heap in heaps() {
        let case = Case { heap, mode: Mode::Auto, flags: OFlags::DIRECT };
        let target = open(&path, OFlags::WRONLY | OFlags::DIRECT);
        let buffer = allocate(heap, 16_384);
        let wanted = [extent(0, 0, 4096), extent(4096, 4096, 100)];
        let error = run(case, buffer.as_fd(), target.as_fd(), &wanted, Direction::Save)
            .expect_err("100 bytes cannot be written with O_DIRECT");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().starts_with("extent 1: "), "{error}");
        assert!(fs::read(&path).expect("read back") == content, "a byte moved");
    }
}

#[test]
fn buffers_are_zeroed_and_named() {
    for heap in heaps() {
        let allocator = Allocator::open(heap).expect("heap");
        let Allocation { fd, size, .. } =
            allocator.allocate_named(5000, 1000, "camera").expect("allocate");
        assert_eq!(size, 8192);
        assert!(read_buffer(fd.as_fd(), heap, 8192).iter().all(|byte| *byte == 0));
        if heap != Heap::Memfd {
            use std::os::fd::AsRawFd;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
            assert!(info.expect("fdinfo").contains("dmabufio:1000:camera"), "{heap}");
        }
    }
}

#[test]
fn largest_buffer_of_udmabuf_is_what_the_driver_allows() {
    for heap in heaps().into_iter().filter(|heap| *heap == Heap::Udmabuf) {
        let limit = fs::read_to_string("/sys/module/udmabuf/parameters/size_limit_mb");
        let bytes = limit.expect("limit").trim().parse::<u64>().expect("a number") << 20;
        let allocator = Allocator::open(heap).expect("heap");
        assert_eq!(allocator.max_bytes(), bytes.min(half_of_memory()));
        allocator.allocate(64 << 10).expect("less");
        let error = allocator.allocate(allocator.max_bytes() + 1).expect_err("more");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains("size_limit_mb"), "{error}");

        // The limit is that of one buffer, not of a pool.
        let class = Class { size: allocator.max_bytes(), count: 2 };
        let fits = 2 * class.size <= half_of_memory();
        assert_eq!(Pool::new(&[class], &allocator).is_ok(), fits);
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for heap in heaps() {
        let allocator = Allocator::open(heap).expect("heap");
        for size in [0, allocator.max_bytes() + 1, u64::MAX] {
            let error = allocator.allocate(size).expect_err("impossible");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{heap}: {error}");
        }
    }
}

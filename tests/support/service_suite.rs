//! The service, through its AIDL interface: on this host over a Unix socket with the embedded heap
//! (`service.rs`), in the VM over kernel binder with the system heap (`vm_service.rs`).
//!
//! One rejected input a test: the request is valid but for it, and the error is checked exactly.

use crate::support::fixture::{duplicate, expect, list, request, Fixture};
use crate::support::{is_patched, open, read_buffer, write_buffer, Descriptor, PAGE};
use binder_shim::{ex, pfd};
use dmabufio_core::heap::Heap as CoreHeap;
use dmabufio_core::sys::ioctl::heap_alloc;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{fstat, ftruncate, memfd_create, MemfdFlags, Mode as Permissions, OFlags};
use rustix::pipe::pipe;
use rustix::process::getuid;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Buffer::Buffer,
    BufferDesc::BufferDesc,
    Direction::Direction,
    Durability::Durability,
    Error::Error as Code,
    ExtentPlan::ExtentPlan,
    FallbackReason::FallbackReason,
    Heap::Heap,
    IDmabufIo::{IDmabufIo, MAX_BATCH, MAX_EXTENTS},
    LoadItem::LoadItem,
    LoadRequest::LoadRequest,
    Method::Method,
    Mode::Mode,
    Priority::Priority,
    TransferRequest::TransferRequest,
};

#[test]
fn capabilities_say_what_the_service_uses() {
    let fixture = Fixture::new();
    let capabilities = fixture.service.getCapabilities().expect("capabilities");
    assert_eq!(capabilities.pageSize, PAGE as i64);
    assert_eq!(capabilities.maxExtents, MAX_EXTENTS);
    assert!(capabilities.maxBufferBytes >= 64 << 20);
    let methods: &[Method] = match fixture.heap {
        CoreHeap::System if is_patched() => {
            &[Method::RW_FILE_DIRECT, Method::RW_FILE_BUFFERED, Method::MAPPED_BUFFERED]
        }
        CoreHeap::System => &[Method::MAPPED_BUFFERED],
        _ => &[Method::MAPPED_DIRECT, Method::MAPPED_BUFFERED],
    };
    assert_eq!(capabilities.methods, methods);
    assert_eq!(capabilities.loadMethods, methods, "the same on these heaps");
    let heap = match fixture.heap {
        CoreHeap::System => Heap::SYSTEM,
        CoreHeap::SystemDirect => Heap::SYSTEM_DIRECT,
        CoreHeap::Udmabuf => Heap::UDMABUF,
        CoreHeap::Memfd => Heap::MEMFD,
    };
    assert_eq!(capabilities.heap, heap);
}

#[test]
fn buffer_is_zeroed_rounded_up_and_the_callers() {
    let fixture = Fixture::new();
    let buffer = fixture.allocate(5000);
    assert_eq!(buffer.size, 8192);
    let fd = duplicate(&buffer.fd);
    assert!(read_buffer(fd.as_fd(), fixture.heap, 8192).iter().all(|byte| *byte == 0));
    write_buffer(fd.as_fd(), fixture.heap, &[7; 8192]);
}

#[test]
fn load_and_save_round_trip_through_the_service() {
    let fixture = Fixture::new();
    let (source, content) = fixture.file("source", 1_000_003);
    let target = fixture.dir.path().join("target");
    let buffer = fixture.allocate(1_000_003);
    let file = File::open(&source).expect("open");
    let before = Descriptor::at(&file, 777);
    let load = request(
        Some(pfd(duplicate(&buffer.fd))),
        file.try_clone().expect("dup"),
        &[(0, 0, 1_000_003)],
    );
    let receipt = fixture.service.transfer(&load).expect("load");
    assert_eq!(receipt.bytes, 1_000_003);
    assert_eq!(receipt.bytesDirect + receipt.bytesBounced + receipt.bytesBuffered, receipt.bytes);
    assert!(receipt.ioNanos > 0 && receipt.syncNanos == 0);
    assert_eq!(Descriptor::of(&file), before);
    if is_patched() {
        assert_eq!(receipt.method, Method::RW_FILE_DIRECT);
        assert_eq!(receipt.firstFallback, FallbackReason::NONE);
        assert_eq!(receipt.bytesDirect, 999_424);
    }
    let back = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, 1_000_003);
    assert!(back == content, "the buffer differs from the file");

    let save = TransferRequest {
        direction: Direction::SAVE,
        durability: Durability::FULL,
        priority: Priority::BACKGROUND,
        tag: "round trip".to_owned(),
        ..request(buffer.fd, File::create(&target).expect("create"), &[(0, 0, 1_000_003)])
    };
    let receipt = fixture.service.transfer(&save).expect("save");
    assert_eq!(receipt.bytes, 1_000_003);
    assert!(receipt.syncNanos > 0);
    assert!(fs::read(&target).expect("read back") == content, "the saved file differs");
}

#[test]
fn probe_predicts_the_receipt() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("probed", 300_000);
    let buffer = fixture.allocate(1 << 20);
    for extent in [(0, 0, 65_536), (100, 100, 200_000), (5, 0, 100), (299_000, 0, 65_536)] {
        let file = File::open(&path).expect("open");
        let plan = fixture.service.probe(&pfd(file.into()), &list(&[extent])).expect("probe");
        let file = File::open(&path).expect("open");
        let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[extent]);
        let receipt = fixture.service.transfer(&load).expect("load");
        let [plan] = plan.extents[..] else { panic!("one prediction for one extent") };
        assert_eq!(
            (plan.bytesDirect, plan.bytesBounced, plan.bytesBuffered),
            (receipt.bytesDirect, receipt.bytesBounced, receipt.bytesBuffered),
            "{extent:?}"
        );
        assert_eq!((plan.method, plan.reason), (receipt.method, receipt.firstFallback));
    }
}

#[test]
fn mode_direct_is_the_service_specific_error_not_direct() {
    let fixture = Fixture::new();
    let mut load = fixture.valid();
    load.mode = Mode::DIRECT;
    load.extents = list(&[(0, 1, 4096)]);
    let status = fixture.service.transfer(&load).expect_err("shifted");
    expect(&status, ex::SERVICE_SPECIFIC, "extent 0: ");
    assert_eq!(status.service_specific_error(), Code::NOT_DIRECT.0);
}

// Loads of several buffers.

/// A load of a file of 1 000 000 bytes into four buffers.
fn four_buffers(fixture: &Fixture) -> (LoadRequest, Vec<u8>) {
    let (path, content) = fixture.file("parts", 1_000_000);
    let item = |i: i64| LoadItem { size: 262_144, extents: list(&[(i * 262_144, 0, 262_144)]) };
    let request = LoadRequest {
        file: Some(pfd(File::open(path).expect("open").into())),
        items: (0..4).map(item).collect(),
        tag: "parts".to_owned(),
        ..Default::default()
    };
    (request, content)
}

#[test]
fn load_fills_all_buffers_in_order() {
    let fixture = Fixture::new();
    let (request, content) = four_buffers(&fixture);
    let result = fixture.service.load(&request).expect("load");
    assert_eq!(result.items.len(), 4);
    for (item, part) in result.items.into_iter().zip(content.chunks(262_144)) {
        assert_eq!((item.error, item.message.as_str()), (0, ""));
        assert_eq!(item.receipt.expect("a receipt").bytes, part.len() as i64);
        let buffer = item.buffer.expect("a buffer");
        assert_eq!(buffer.size, 262_144);
        let filled = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, 262_144);
        assert!(filled[..part.len()] == *part, "the buffer differs from the file");
        assert!(filled[part.len()..].iter().all(|byte| *byte == 0), "not zero after the end");
    }
}

#[test]
fn queue_time_of_a_loaded_buffer_covers_those_before_it() {
    let fixture = Fixture::new();
    let (request, _) = four_buffers(&fixture);
    let items = fixture.service.load(&request).expect("load").items;
    let receipts: Vec<_> = items.into_iter().map(|item| item.receipt.expect("filled")).collect();
    assert!(receipts[0].queueNanos > 0);
    for pair in receipts.windows(2) {
        assert!(pair[1].queueNanos >= pair[0].queueNanos + pair[0].ioNanos, "{pair:?}");
    }
}

#[test]
fn load_reports_each_item_by_itself() {
    let fixture = Fixture::new();
    let (mut request, content) = four_buffers(&fixture);
    request.mode = Mode::DIRECT;
    // Shifted against its buffer, so it cannot go direct.
    request.items[1].extents = list(&[(1, 0, 8192)]);
    let result = fixture.service.load(&request).expect("load");
    let failed = &result.items[1];
    assert_eq!(failed.error, Code::NOT_DIRECT.0);
    assert!(failed.message.starts_with("extent 0: "), "{}", failed.message);
    assert!(failed.buffer.is_none() && failed.receipt.is_none());
    for i in [0, 2] {
        let item = &result.items[i];
        if is_patched() {
            let buffer = item.buffer.as_ref().expect("a buffer");
            let filled = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, 262_144);
            assert!(filled == content[i * 262_144..(i + 1) * 262_144], "item {i}");
        } else {
            // Here nothing goes direct without an O_DIRECT descriptor.
            assert_eq!(item.error, Code::NOT_DIRECT.0, "item {i}");
        }
    }
}

#[test]
fn malformed_loads_are_refused_as_a_whole() {
    let fixture = Fixture::new();
    let refuse = |operand: &str, spoil: &dyn Fn(&mut LoadRequest)| {
        let (mut request, _) = four_buffers(&fixture);
        spoil(&mut request);
        let status = fixture.service.load(&request).expect_err(operand);
        expect(&status, ex::ILLEGAL_ARGUMENT, operand);
    };
    refuse("items: 0 given", &|request| request.items.clear());
    refuse("items: 33 given", &|request| {
        let item = request.items[0].clone();
        request.items.resize(MAX_BATCH as usize + 1, item);
    });
    refuse("item 2: size=-1: negative", &|request| request.items[2].size = -1);
    refuse("item 3: size=0", &|request| request.items[3].size = 0);
    refuse("item 1: extent 0: length=-1", &|request| {
        request.items[1].extents = list(&[(0, 0, -1)]);
    });
    refuse("item 1: extent 0: ", &|request| {
        request.items[1].extents = list(&[(0, 262_143, 2)]);
    });
    refuse("extents: 2052 given", &|request| {
        let extents: Vec<_> = (0..513).map(|i| (i, i, 1)).collect();
        request.items.iter_mut().for_each(|item| item.extents = list(&extents));
    });
    refuse("mode=7", &|request| request.mode = Mode(7));
    refuse("file: a pipe", &|request| request.file = Some(pfd(pipe().expect("pipe").0)));
}

// The pool.

/// The inode of a buffer, once it is known to be zeroed and to have the name of its new owner.
fn inspect(fixture: &Fixture, buffer: &Buffer, tag: &str) -> u64 {
    let fd = duplicate(&buffer.fd);
    let content = read_buffer(fd.as_fd(), fixture.heap, buffer.size as usize);
    assert!(content.iter().all(|byte| *byte == 0), "a buffer that is not zeroed");
    if fixture.heap != CoreHeap::Memfd {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let info = info.expect("fdinfo");
        let name = format!("name:\tdmabufio:{}:{tag}\n", getuid().as_raw());
        assert!(info.contains(&name), "no {name:?} in {info}");
    }
    fstat(&fd).expect("fstat").st_ino
}

#[test]
fn pool_follows_demand_and_never_hands_out_a_buffer_twice() {
    let fixture = Fixture::start(&["--pool", "256K:2,1M:1"]);
    fixture.held_buffers(0, &HashSet::new());
    let miss = fixture.allocate(262_144);
    let mut seen = HashSet::from([inspect(&fixture, &miss, "test")]);
    for _ in 0..20 {
        let ready = fixture.held_buffers(2, &seen);
        // Any size that is rounded up to this one.
        let buffer = fixture.allocate(262_143);
        let inode = inspect(&fixture, &buffer, "test");
        assert!(ready.contains(&inode), "not from the pool");
        assert!(seen.insert(inode), "handed out twice");
        write_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, &[7; 262_144]);
    }
    fixture.held_buffers(2, &seen);
}

#[test]
fn load_takes_from_the_pool_what_it_has_and_allocates_the_rest() {
    let fixture = Fixture::start(&["--pool", "256K:2"]);
    let miss = fixture.allocate(262_144);
    let ready = fixture.held_buffers(2, &HashSet::from([inspect(&fixture, &miss, "test")]));
    let (request, content) = four_buffers(&fixture);
    let items = fixture.service.load(&request).expect("load").items;
    let from_pool: Vec<bool> = items
        .into_iter()
        .zip(content.chunks(262_144))
        .map(|(item, part)| {
            let buffer = item.buffer.expect("a buffer");
            let fd = duplicate(&buffer.fd);
            let filled = read_buffer(fd.as_fd(), fixture.heap, 262_144);
            assert!(filled[..part.len()] == *part, "the buffer differs from the file");
            assert!(filled[part.len()..].iter().all(|byte| *byte == 0), "not zero after the end");
            ready.contains(&fstat(&fd).expect("fstat").st_ino)
        })
        .collect();
    // The second has a descriptor a moment before the pool has it.
    assert!(matches!(from_pool[..], [true, _, false, false]), "{from_pool:?}");
}

// Buffers.

#[test]
fn pipe_as_buffer_is_refused() {
    Fixture::new().refuses_buffer("buffer: ", pipe().expect("pipe").0);
}

#[test]
fn regular_file_as_buffer_is_refused() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("no-buffer", 65_536);
    fixture.refuses_buffer("buffer: not a dma-buf", open(&path, OFlags::RDWR));
}

#[test]
fn unsealed_memfd_as_buffer_is_refused() {
    let memfd = memfd_create("plain", MemfdFlags::CLOEXEC).expect("memfd");
    ftruncate(&memfd, 65_536).expect("truncate");
    Fixture::new().refuses_buffer("buffer: not a dma-buf", memfd);
}

#[test]
fn read_only_buffer_for_a_load_is_refused() {
    let fixture = Fixture::new();
    fixture.refuses_buffer("buffer: read-only", restricted(&fixture, OFlags::RDONLY));
}

#[test]
fn write_only_buffer_for_a_save_is_refused() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("target", 65_536);
    let buffer = restricted(&fixture, OFlags::WRONLY);
    fixture.refuses(ex::ILLEGAL_ARGUMENT, "buffer: write-only", |request| {
        request.direction = Direction::SAVE;
        request.file = Some(pfd(open(&path, OFlags::WRONLY).into()));
        request.buffer = Some(pfd(buffer));
    });
}

/// A buffer with less access than read and write: a memfd can be opened again, the system heap takes
/// an access mode when it allocates.
fn restricted(fixture: &Fixture, access: OFlags) -> OwnedFd {
    match fixture.heap {
        CoreHeap::Memfd => {
            let buffer = duplicate(&fixture.allocate(65_536).fd);
            let path = format!("/proc/self/fd/{}", buffer.as_raw_fd());
            rustix::fs::open(path, access | OFlags::CLOEXEC, Permissions::empty()).expect("open")
        }
        _ => {
            let heap = File::open("/dev/dma_heap/system").expect("the system heap");
            heap_alloc(heap.as_fd(), 65_536, access, 0).expect("allocate")
        }
    }
}

#[test]
fn missing_buffer_is_a_null_pointer() {
    let fixture = Fixture::new();
    // The stack refuses it on one side or the other: never a crash, never success.
    let mut request = fixture.valid();
    request.buffer = None;
    assert!(fixture.service.transfer(&request).is_err());
    assert_eq!(fixture.service.transfer(&fixture.valid()).expect("valid").bytes, 65_536);
}

// Files.

#[test]
fn pipe_as_file_is_refused() {
    Fixture::new().refuses_file("file: a pipe", pipe().expect("pipe").0);
}

#[test]
fn socket_as_file_is_refused() {
    Fixture::new().refuses_file("file: a socket", UnixStream::pair().expect("pair").0);
}

#[test]
fn directory_as_file_is_refused() {
    let fixture = Fixture::new();
    let directory = File::open(fixture.dir.path()).expect("open");
    fixture.refuses_file("file: a directory", directory);
}

#[test]
fn device_as_file_is_refused() {
    Fixture::new().refuses_file("file: a character device", File::open("/dev/zero").expect("open"));
}

#[test]
fn eventfd_as_file_is_refused() {
    let fd = eventfd(0, EventfdFlags::CLOEXEC).expect("eventfd");
    Fixture::new().refuses_file("file: ", fd);
}

#[test]
fn buffer_as_its_own_file_is_refused() {
    let fixture = Fixture::new();
    fixture.refuses(ex::ILLEGAL_ARGUMENT, "file: ", |request| {
        request.file = Some(pfd(duplicate(&request.buffer)));
    });
}

#[test]
fn other_buffer_as_file_is_refused() {
    let fixture = Fixture::new();
    let other = duplicate(&fixture.allocate(65_536).fd);
    fixture.refuses_file("file: ", other);
}

#[test]
fn write_only_file_for_a_load_is_refused() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("write-only", 65_536);
    fixture.refuses_file("file: write-only", open(&path, OFlags::WRONLY));
}

#[test]
fn read_only_file_for_a_save_is_refused() {
    let fixture = Fixture::new();
    fixture.refuses(ex::ILLEGAL_ARGUMENT, "file: read-only", |request| {
        request.direction = Direction::SAVE;
    });
}

#[test]
fn o_append_file_for_a_save_is_refused() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("append", 65_536);
    let file = open(&path, OFlags::WRONLY | OFlags::APPEND);
    fixture.refuses(ex::ILLEGAL_ARGUMENT, "file: O_APPEND", |request| {
        request.direction = Direction::SAVE;
        request.file = Some(pfd(file.into()));
    });
}

#[test]
fn file_truncated_before_the_load_is_a_short_count() {
    let fixture = Fixture::new();
    let load = fixture.valid();
    let file = duplicate(&load.file);
    let path = fixture.dir.path().join("valid");
    open(&path, OFlags::WRONLY).set_len(10_000).expect("truncate");
    assert_eq!(fixture.service.transfer(&load).expect("load").bytes, 10_000);
    drop(file);
}

// Extents.

#[test]
fn no_extent_is_refused() {
    Fixture::new().refuses_extents("extents: 0 given", &[]);
}

#[test]
fn too_many_extents_are_refused() {
    let extents: Vec<_> = (0..=i64::from(MAX_EXTENTS)).map(|i| (i, i, 1)).collect();
    Fixture::new().refuses_extents("extents: 2049 given", &extents);
}

#[test]
fn as_many_extents_as_allowed_are_moved() {
    let fixture = Fixture::new();
    let mut load = fixture.valid();
    let extents: Vec<_> = (0..i64::from(MAX_EXTENTS)).map(|i| (i * 2, i * 2, 2)).collect();
    load.extents = list(&extents);
    let receipt = fixture.service.transfer(&load).expect("load");
    assert_eq!(receipt.bytes, i64::from(MAX_EXTENTS) * 2);
}

#[test]
fn negative_offset_is_refused() {
    Fixture::new().refuses_extents("extent 1: fileOffset=-1", &[(0, 0, 1), (-1, 1, 1)]);
}

#[test]
fn negative_length_is_refused() {
    Fixture::new().refuses_extents("extent 0: length=-4096", &[(0, 0, -4096)]);
}

#[test]
fn empty_extents_move_nothing_wherever_they_lie() {
    let fixture = Fixture::new();
    let extents = [(0, 0, 0), (4096, 100, 0), (65_536, 65_536, 0), (1 << 40, 5, 0), (0, 100, 0)];
    let mut load = fixture.valid();
    load.extents = list(&extents);
    let receipt = fixture.service.transfer(&load).expect("load");
    assert_eq!((receipt.bytes, receipt.method), (0, Method::NONE));
    assert_eq!(receipt.firstFallback, FallbackReason::NONE);
    let fd = duplicate(&load.buffer);
    let bytes = read_buffer(fd.as_fd(), fixture.heap, 65_536);
    assert!(bytes.iter().all(|byte| *byte == 0), "bytes moved");

    let file = pfd(duplicate(&load.file));
    let plan = fixture.service.probe(&file, &list(&extents)).expect("probe").extents;
    assert_eq!(plan, vec![ExtentPlan::default(); extents.len()]);

    let item = |size, extents: &[_]| LoadItem { size, extents: list(extents) };
    let request = LoadRequest {
        file: load.file,
        items: vec![item(4096, &[(0, 0, 100)]), item(1, &[(0, 0, 0)])],
        ..Default::default()
    };
    let items = fixture.service.load(&request).expect("load").items;
    let bytes = items.iter().map(|item| item.receipt.as_ref().map(|receipt| receipt.bytes));
    assert_eq!(bytes.collect::<Vec<_>>(), [Some(100), Some(0)]);
}

#[test]
fn empty_extent_beyond_the_buffer_is_refused() {
    Fixture::new().refuses_extents("extent 1: ", &[(0, 0, 1), (0, 65_537, 0)]);
}

// Files that say other sizes than they have.

#[test]
fn file_of_procfs_is_refused() {
    let file = File::open("/proc/version").expect("open");
    Fixture::new().refuses_file("file: says that it has no bytes", file);
}

#[test]
fn file_of_sysfs_is_loaded_as_far_as_it_goes() {
    const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let fixture = Fixture::new();
    let content = fs::read(PATH).expect("read");
    for mode in [Mode::AUTO, Mode::BUFFERED] {
        let buffer = fixture.allocate(8192);
        let file = File::open(PATH).expect("open");
        let mut load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, 8192)]);
        load.mode = mode;
        let receipt = fixture.service.transfer(&load).expect("load");
        assert_eq!(receipt.bytes, content.len() as i64, "{mode:?}");
        assert_eq!(receipt.bytesBuffered, receipt.bytes, "{mode:?}");
        let bytes = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, 8192);
        assert_eq!(&bytes[..content.len()], content, "{mode:?}");
        assert!(bytes[content.len()..].iter().all(|byte| *byte == 0), "{mode:?}");
    }
}

#[test]
fn overflowing_extent_is_refused() {
    Fixture::new().refuses_extents("extent 0: ", &[(i64::MAX, 0, 4096)]);
}

#[test]
fn extent_beyond_the_buffer_is_refused() {
    Fixture::new().refuses_extents("extent 1: ", &[(0, 0, 1), (0, 65_535, 2)]);
}

#[test]
fn overlapping_extents_are_refused() {
    Fixture::new().refuses_extents("extent 2: ", &[(0, 0, 100), (0, 200, 100), (0, 99, 10)]);
}

// Numbers and words.

#[test]
fn unknown_direction_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "direction=9", |request| {
        request.direction = Direction(9);
    });
}

#[test]
fn unknown_mode_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "mode=-1", |request| request.mode = Mode(-1));
}

#[test]
fn unknown_priority_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "priority=3", |request| {
        request.priority = Priority(3);
    });
}

#[test]
fn unknown_durability_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "durability=3", |request| {
        request.durability = Durability(3);
    });
}

#[test]
fn durable_load_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "durability=Full", |request| {
        request.durability = Durability::FULL;
    });
}

#[test]
fn unprintable_tag_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "tag: ", |request| {
        request.tag = "two\nlines".to_owned();
    });
}

#[test]
fn overlong_tag_is_refused() {
    Fixture::new().refuses(ex::ILLEGAL_ARGUMENT, "tag: ", |request| request.tag = "x".repeat(32));
}

#[test]
fn impossible_allocations_are_refused() {
    let fixture = Fixture::new();
    let limit = fixture.service.getCapabilities().expect("capabilities").maxBufferBytes;
    for size in [0, -1, i64::MIN, limit + 1, i64::MAX] {
        let desc = BufferDesc { size, tag: String::new() };
        let status = fixture.service.allocate(&desc).expect_err("impossible");
        expect(&status, ex::ILLEGAL_ARGUMENT, &format!("size={size}"));
    }
}

#[test]
fn no_descriptor_leaks_in_the_service() {
    let fixture = Fixture::new();
    let count = || fixture.descriptors().len();
    let round = || {
        fixture.service.transfer(&fixture.valid()).expect("load");
        let mut bad = fixture.valid();
        bad.extents = list(&[(0, 0, 1 << 40)]);
        fixture.service.transfer(&bad).expect_err("too long");
    };
    round();
    let before = count();
    for _ in 0..50 {
        round();
    }
    // Other tests use the same service in the VM, each with a few descriptors at a time.
    let slack = if fixture.child.is_some() { 0 } else { 16 };
    assert!(count() <= before + slack, "{} descriptors, {before} before", count());
}

//! What only a kernel with `DMA_BUF_IOCTL_RW_FILE` can show: a buffer that a device is attached to,
//! and many extents with one call.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::probe;
use dmabufio_core::sys::{ioctl, uapi};
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, sleep};
use std::time::Duration;
use support::attachment::Attachment;
use support::fuse::FuseFile;
use support::machine::wait_for;
use support::{allocate, file, make_cold, read_buffer, scratch, write_buffer, Random, PAGE};

const LEN: usize = 1 << 20;

fn run(buffer: &OwnedFd, file: &File, direction: Direction, mode: Mode) -> Result<Receipt> {
    transfer(&Request {
        buffer: &Buffer::new(buffer.as_fd(), Heap::System)?,
        file: &RegularFile::new(file.as_fd(), Heap::System)?,
        extents: &[Extent { file_offset: 0, buffer_offset: 0, len: LEN as u64 }],
        direction,
        mode,
        durability: Durability::None,
    })
}

fn predict(buffer: &OwnedFd, file: &File, mode: Mode) -> Result<ExtentPlan> {
    let buffer = Buffer::new(buffer.as_fd(), Heap::System)?;
    let file = RegularFile::new(file.as_fd(), Heap::System)?;
    let support = probe::buffer(&buffer, Direction::Load)?;
    let extents = [Extent { file_offset: 0, buffer_offset: 0, len: LEN as u64 }];
    Ok(probe::plan(&file, &extents, Direction::Load, mode, support)?[0])
}

#[test]
fn attached_buffer_is_loaded_direct() {
    let dir = scratch();
    let content = Random::new(1).bytes(LEN);
    let path = file(dir.path(), "source", &content);
    let source = File::open(&path).expect("open");
    let buffer = allocate(Heap::System, LEN as u64);
    let _attachment = Attachment::new(&buffer);
    make_cold(&path);

    let plan = predict(&buffer, &source, Mode::Auto).expect("plan");
    assert_eq!((plan.method, plan.reason), (Some(Method::RwFileDirect), None));
    let untouched = read_buffer(buffer.as_fd(), Heap::System, LEN);
    assert!(untouched.iter().all(|byte| *byte == 0), "the prediction wrote");
    for mode in [Mode::Auto, Mode::Direct] {
        write_buffer(buffer.as_fd(), Heap::System, &[9; LEN]);
        let receipt = run(&buffer, &source, Direction::Load, mode).expect("load");
        assert_eq!((receipt.method, receipt.first_fallback), (Some(Method::RwFileDirect), None));
        assert_eq!((receipt.direct, receipt.buffered), (LEN as u64, 0));
        assert!(read_buffer(buffer.as_fd(), Heap::System, LEN) == content);
    }
}

#[test]
fn attached_buffer_is_saved_direct() {
    let dir = scratch();
    let content = Random::new(2).bytes(LEN);
    let buffer = allocate(Heap::System, LEN as u64);
    write_buffer(buffer.as_fd(), Heap::System, &content);
    let _attachment = Attachment::new(&buffer);
    let path = dir.path().join("target");
    let target = File::create(&path).expect("create");
    let receipt = run(&buffer, &target, Direction::Save, Mode::Auto).expect("save");
    assert_eq!((receipt.method, receipt.first_fallback), (Some(Method::RwFileDirect), None));
    assert_eq!(receipt.direct, LEN as u64);
    assert!(fs::read(&path).expect("read back") == content);
}

/// Fills the buffer from a file that never comes, and lets a device wait for that.
fn while_an_importer_waits(test: impl FnOnce(&OwnedFd)) {
    let dir = scratch();
    let buffer = allocate(Heap::System, LEN as u64);
    let zeros = File::open(file(dir.path(), "zeros", &[0; PAGE as usize])).expect("open");
    let stalling = FuseFile::stalling(dir.path());
    let source = File::open(&stalling.path).expect("open");
    let read = |file: &File, len| {
        let flags = uapi::DMA_BUF_RW_FLAGS_READ;
        let request = uapi::dma_buf_rw_file { flags, buf_len: len, ..Default::default() };
        ioctl::dma_buf_rw_file(buffer.as_fd(), Some(file.as_fd()), request)
    };
    thread::scope(|scope| {
        let running = scope.spawn(|| read(&source, LEN as u64));
        sleep(Duration::from_secs(1));
        let attaching = scope.spawn(|| Attachment::new(&buffer));
        wait_for("the importer", || read(&zeros, PAGE) == Err(Errno::BUSY));
        test(&buffer);
        assert!(!running.is_finished() && !attaching.is_finished());
        drop(stalling);
        running.join().expect("no panic").expect_err("the file is gone");
        attaching.join().expect("attached");
    });
}

#[test]
fn buffer_that_an_importer_waits_for_is_loaded_through_a_mapping() {
    let dir = scratch();
    let content = Random::new(3).bytes(LEN);
    let source = File::open(file(dir.path(), "source", &content)).expect("open");
    while_an_importer_waits(|buffer| {
        let receipt = run(buffer, &source, Direction::Load, Mode::Auto).expect("load");
        assert_eq!(receipt.method, Some(Method::MappedBuffered));
        assert_eq!(receipt.first_fallback, Some(FallbackReason::BufferBusy));
        assert_eq!((receipt.direct, receipt.buffered), (0, LEN as u64));
        assert!(read_buffer(buffer.as_fd(), Heap::System, LEN) == content);
    });
}

#[test]
fn buffer_that_an_importer_waits_for_is_busy_in_mode_direct_and_untouched() {
    let dir = scratch();
    let source = File::open(file(dir.path(), "source", &[7; LEN])).expect("open");
    while_an_importer_waits(|buffer| {
        let error = run(buffer, &source, Direction::Load, Mode::Direct).expect_err("busy");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(read_buffer(buffer.as_fd(), Heap::System, LEN).iter().all(|byte| *byte == 0));
    });
}

/// The number of calls with which this process has read so far, as the kernel counts them.
fn reads() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("/proc/self/io");
    let line = io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("syscr");
    line.parse().expect("a number")
}

#[test]
fn many_extents_move_with_few_calls() {
    const BLOCK: usize = 16 << 10;
    const COUNT: usize = 1000;
    let dir = scratch();
    let content = Random::new(4).bytes(BLOCK * COUNT);
    let path = file(dir.path(), "source", &content);
    make_cold(&path);
    let source = File::open(&path).expect("open");
    let buffer = allocate(Heap::System, content.len() as u64);
    let place = |i: usize| (i * 37 % COUNT * BLOCK) as u64;
    let extent = |i: usize| Extent {
        file_offset: (i * BLOCK) as u64,
        buffer_offset: place(i),
        len: BLOCK as u64,
    };
    let before = reads();
    let receipt = transfer(&Request {
        buffer: &Buffer::new(buffer.as_fd(), Heap::System).expect("buffer"),
        file: &RegularFile::new(source.as_fd(), Heap::System).expect("file"),
        extents: &(0..COUNT).map(extent).collect::<Vec<_>>(),
        direction: Direction::Load,
        mode: Mode::Direct,
        durability: Durability::None,
    });
    let receipt = receipt.expect("load");
    let calls = reads() - before;
    assert_eq!(receipt.direct, content.len() as u64);
    let loaded = read_buffer(buffer.as_fd(), Heap::System, content.len());
    for i in 0..COUNT {
        let place = place(i) as usize;
        assert!(loaded[place..place + BLOCK] == content[i * BLOCK..(i + 1) * BLOCK], "block {i}");
    }
    // Some of them read the descriptors' entries in /proc.
    assert!(calls < 50, "{calls} calls for {COUNT} extents");
}

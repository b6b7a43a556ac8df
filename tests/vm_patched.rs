//! What only a kernel with `DMA_BUF_IOCTL_RW_FILE` can show: a buffer that a device is attached to.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use support::attachment::Attachment;
use support::{allocate, file, make_cold, read_buffer, scratch, write_buffer, Random};

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
fn attached_buffer_is_loaded_through_a_mapping() {
    let dir = scratch();
    let content = Random::new(1).bytes(LEN);
    let path = file(dir.path(), "source", &content);
    let source = File::open(&path).expect("open");
    let buffer = allocate(Heap::System, LEN as u64);
    let attachment = Attachment::new(&buffer);

    let receipt = run(&buffer, &source, Direction::Load, Mode::Auto).expect("load");
    assert_eq!(receipt.method, Some(Method::MappedBuffered));
    assert_eq!(receipt.first_fallback, Some(FallbackReason::BufferBusy));
    assert_eq!((receipt.direct, receipt.buffered), (0, LEN as u64));
    assert!(read_buffer(buffer.as_fd(), Heap::System, LEN) == content);

    drop(attachment);
    make_cold(&path);
    let plan = predict(&buffer, &source, Mode::Auto).expect("plan");
    assert_eq!((plan.method, plan.reason), (Some(Method::RwFileDirect), None));
    assert!(read_buffer(buffer.as_fd(), Heap::System, LEN) == content, "the prediction wrote");
    let receipt = run(&buffer, &source, Direction::Load, Mode::Auto).expect("load");
    assert_eq!((receipt.method, receipt.first_fallback), (Some(Method::RwFileDirect), None));
}

#[test]
fn attached_buffer_is_saved_through_a_mapping() {
    let dir = scratch();
    let content = Random::new(2).bytes(LEN);
    let buffer = allocate(Heap::System, LEN as u64);
    write_buffer(buffer.as_fd(), Heap::System, &content);
    let _attachment = Attachment::new(&buffer);
    let path = dir.path().join("target");
    let target = File::create(&path).expect("create");
    let receipt = run(&buffer, &target, Direction::Save, Mode::Auto).expect("save");
    assert_eq!(receipt.first_fallback, Some(FallbackReason::BufferBusy));
    assert!(fs::read(&path).expect("read back") == content);
}

#[test]
fn attached_buffer_in_mode_direct_is_busy_and_untouched() {
    let dir = scratch();
    let source = File::open(file(dir.path(), "source", &[7; LEN])).expect("open");
    let buffer = allocate(Heap::System, LEN as u64);
    let _attachment = Attachment::new(&buffer);
    let error = run(&buffer, &source, Direction::Load, Mode::Direct).expect_err("attached");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(read_buffer(buffer.as_fd(), Heap::System, LEN).iter().all(|byte| *byte == 0));
}

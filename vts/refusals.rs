//! Requests that are wrong: each is refused with the exception that the interface documents, and no byte moves.

use super::device::{expect, extent, on_every_instance, open, refuses, LEN};
use binder_shim::{borrow, ex, pfd};
use dmabufio_core::sys::ioctl::heap_alloc;
use rustix::fs::OFlags;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, Direction::Direction, Durability::Durability, Extent::Extent,
    IDmabufIo::MAX_BATCH, LoadItem::LoadItem, LoadRequest::LoadRequest, Mode::Mode,
    Priority::Priority, TransferRequest::TransferRequest,
};

#[test]
fn sizes_that_cannot_be_are_illegal() {
    on_every_instance(|device| {
        let limit = device.service.getCapabilities().expect("capabilities").maxBufferBytes;
        for size in [0, -1, i64::MIN, limit + 1, i64::MAX] {
            let status = device.service.allocate(&BufferDesc { size, tag: String::new() });
            let status = status.expect_err("an impossible size");
            expect(&status, ex::ILLEGAL_ARGUMENT);
        }
        let tag = "\u{7}".to_owned();
        let status = device.service.allocate(&BufferDesc { size: 4096, tag }).expect_err("a bell");
        expect(&status, ex::ILLEGAL_ARGUMENT);
    });
}

#[test]
fn extents_that_cannot_be_are_illegal() {
    on_every_instance(|device| {
        let max = device.service.getCapabilities().expect("capabilities").maxExtents as usize;
        let page = |i: usize| extent(i as i64, i as i64 % (LEN as i64), 1);
        for extents in [
            vec![extent(-1, 0, 4096)],
            vec![extent(0, -1, 4096)],
            vec![extent(0, 0, -4096)],
            vec![extent(0, LEN as i64 + 1, 0)],
            vec![extent(i64::MAX, 0, 4096)],
            vec![extent(0, LEN as i64, 4096)],
            vec![extent(0, 0, LEN as i64 + 1)],
            vec![extent(0, 0, 4096), extent(8192, 4095, 4096)],
            (0..=max).map(page).collect(),
        ] {
            refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.extents = extents);
        }
        let (path, before) = device.file("overlapped", LEN);
        let overlapping = vec![extent(0, 0, 4096), extent(4095, 8192, 4096)];
        let save = TransferRequest { extents: overlapping, ..device.save(&path) };
        let status = device.service.transfer(&save).expect_err("they overlap in the file");
        expect(&status, ex::ILLEGAL_ARGUMENT);
        assert!(fs::read(&path).expect("read") == before, "bytes moved");
    });
}

#[test]
fn file_or_extents_that_cannot_be_probed_are_illegal() {
    on_every_instance(|device| {
        let probe = |file, extents: &[Extent]| {
            let status = device.service.probe(&pfd(file), extents).expect_err("nothing to probe");
            expect(&status, ex::ILLEGAL_ARGUMENT);
        };
        let (path, _) = device.file("probed", LEN);
        probe(open(&path, OFlags::RDONLY), &[extent(-1, 0, 4096)]);
        probe(open(&path, OFlags::RDONLY), &[]);
        let buffer = device.allocate(LEN).fd.expect("a buffer");
        probe(borrow(&buffer).try_clone_to_owned().expect("dup"), &[extent(0, 0, 4096)]);
    });
}

#[test]
fn tags_that_cannot_be_are_illegal() {
    on_every_instance(|device| {
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.tag = "\u{7}".to_owned());
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.tag = "x".repeat(32));
    });
}

#[test]
fn load_that_asks_for_durability_is_illegal() {
    on_every_instance(|device| {
        for durability in [Durability::DATA, Durability::FULL] {
            refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.durability = durability);
        }
    });
}

#[test]
fn values_without_a_meaning_are_illegal() {
    on_every_instance(|device| {
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.direction = Direction(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.mode = Mode(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.priority = Priority(99));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.durability = Durability(99));
    });
}

#[test]
fn missing_descriptors_are_null_pointers() {
    on_every_instance(|device| {
        // A required field without a descriptor may not even leave this process.
        for spoil in [
            |load: &mut TransferRequest| load.buffer = None,
            |load: &mut TransferRequest| load.file = None,
        ] {
            let mut load = device.load();
            spoil(&mut load);
            let status = device.service.transfer(&load).expect_err("a descriptor is missing");
            let code = status.exception_code();
            assert!(matches!(code, ex::NULL_POINTER | ex::TRANSACTION_FAILED), "{code:?}");
        }
        let status = device.service.load(&LoadRequest::default()).expect_err("no file");
        let code = status.exception_code();
        assert!(matches!(code, ex::NULL_POINTER | ex::TRANSACTION_FAILED), "{code:?}");
    });
}

#[test]
fn file_without_the_access_it_needs_is_illegal() {
    on_every_instance(|device| {
        let (path, _) = device.file("wrong", LEN);
        let write_only = open(&path, OFlags::WRONLY);
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.file = Some(pfd(write_only)));
        for flags in [OFlags::RDONLY, OFlags::WRONLY | OFlags::APPEND] {
            let file = open(&path, flags);
            refuses(device, ex::ILLEGAL_ARGUMENT, |load| {
                load.direction = Direction::SAVE;
                load.file = Some(pfd(file));
            });
        }
    });
}

#[test]
fn buffer_without_the_access_it_needs_is_illegal() {
    on_every_instance(|device| {
        // Android asks every device for this heap.
        let heap = open(Path::new("/dev/dma_heap/system"), OFlags::RDONLY);
        let allocate =
            |access| pfd(heap_alloc(heap.as_fd(), LEN as u64, access, 0).expect("allocate"));
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.buffer = Some(allocate(OFlags::RDONLY)));
        let (path, before) = device.file("unwritten", LEN);
        let buffer = Some(allocate(OFlags::WRONLY));
        let save = TransferRequest { buffer, ..device.save(&path) };
        let status = device.service.transfer(&save).expect_err("the buffer cannot be read");
        expect(&status, ex::ILLEGAL_ARGUMENT);
        assert!(fs::read(&path).expect("read") == before, "bytes moved");
    });
}

#[test]
fn file_is_no_buffer() {
    on_every_instance(|device| {
        let (path, _) = device.file("plain", LEN);
        let both = open(&path, OFlags::RDWR);
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.buffer = Some(pfd(both)));
        let buffer = device.allocate(LEN).fd;
        refuses(device, ex::ILLEGAL_ARGUMENT, |load| load.file = buffer);
    });
}

#[test]
fn malformed_item_of_a_load_is_illegal_before_anything_is_allocated() {
    on_every_instance(|device| {
        let (path, _) = device.file("items", LEN);
        let valid = LoadItem { size: 4096, extents: vec![extent(0, 0, 4096)] };
        let illegal = |spoil: &dyn Fn(&mut LoadRequest)| {
            let mut load = LoadRequest {
                file: Some(pfd(open(&path, OFlags::RDONLY))),
                items: vec![valid.clone()],
                ..Default::default()
            };
            spoil(&mut load);
            let status = device.service.load(&load).expect_err("the request is wrong");
            expect(&status, ex::ILLEGAL_ARGUMENT);
        };
        illegal(&|load| load.items = vec![valid.clone(); MAX_BATCH as usize + 1]);
        illegal(&|load| load.items.push(LoadItem { size: 0, ..valid.clone() }));
        let beyond = vec![extent(0, 4096, 4096)];
        illegal(&|load| load.items.push(LoadItem { extents: beyond.clone(), ..valid.clone() }));
        illegal(&|load| load.mode = Mode(99));
        illegal(&|load| load.priority = Priority(99));
        illegal(&|load| load.tag = "\u{7}".to_owned());
        let write_only = || Some(pfd(open(&path, OFlags::WRONLY)));
        illegal(&|load| load.file = write_only());
    });
}

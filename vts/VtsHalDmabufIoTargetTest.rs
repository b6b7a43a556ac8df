//! What every implementation of `vendor.dmabufio.IDmabufIo` has to do, on every instance that the device declares.
//!
//! Nothing here asks how bytes move: an implementation without direct I/O conforms. Soong builds this file, with the
//! modules beside it, as VtsHalDmabufIoTargetTest; Cargo builds it as `vm_vts`, for the VM.
//!
//! | documented error | test, or why there is none |
//! |---|---|
//! | `EX_ILLEGAL_ARGUMENT` of `allocate` | `sizes_that_cannot_be_...` |
//! | of `probe` | `file_or_extents_that_cannot_be_probed_...` |
//! | of `transfer` | `extents_that_cannot_be_...`, `values_without_a_meaning_...`, `tags_that_cannot_be_...`, `load_that_asks_for_durability_...`, `file_without_the_access_...`, `buffer_without_the_access_...`, `file_is_no_buffer` |
//! | of `load` | `malformed_item_of_a_load_...` |
//! | of `submit` | `batch_that_is_empty_or_too_large_is_illegal` |
//! | of `openStream` and of `IBufferStream` | `stream_that_cannot_be_is_illegal` |
//! | `EX_NULL_POINTER` | `missing_descriptors_are_null_pointers` |
//! | `EX_SECURITY` | `save_that_the_kernel_refuses_...` |
//! | `EX_UNSUPPORTED_OPERATION` | none: that no method works on a buffer needs an exporter that can be neither read nor mapped |
//! | `NOT_DIRECT` | `body_that_cannot_be_aligned_...`, `item_that_is_not_direct_...`, `mode_direct_is_direct_or_an_error` |
//! | `BUSY` | `silent_daemon_times_out_and_a_third_...`, `stream_...`. A buffer that a device is in the way of: needs a device with a driver |
//! | `NO_SPACE` | `save_to_a_full_file_system_...`, `save_beyond_the_largest_file_...`. A quota: not every file system of a phone has them on |
//! | `IO` | `read_that_fails_is_an_io_error` |
//! | `TIMED_OUT` | `silent_daemon_times_out_...`, `load_returns_what_came_before_...`. Of `probe`: an implementation need not ask the daemon for it |
//! | `CANCELLED` | `cancelled_batch_ends_and_says_so` |
//! | `QUOTA_EXCEEDED` | none: the tests run at the same time, as one user, and all of them would exceed it |
//! | `NO_MEMORY` | none: it would take the memory of the whole device, and Android would kill others first |

mod batches;
mod device;
mod failures;
mod fuse;
mod kernel;
mod refusals;
mod streams;

use binder_shim::pfd;
use device::{
    adds_up, content, duplicate, extent, on_every_instance, open, request, specific, LEN,
};
use rustix::fs::{fadvise, Advice, OFlags};
use std::collections::HashSet;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction, Durability::Durability, Error::Error, LoadItem::LoadItem,
    LoadRequest::LoadRequest, Method::Method, Mode::Mode, TransferRequest::TransferRequest,
};

#[test]
fn capabilities_are_complete_and_constant() {
    on_every_instance(|device| {
        let capabilities = device.service.getCapabilities().expect("capabilities");
        assert!(
            capabilities.pageSize >= 4096
                && capabilities.pageSize & (capabilities.pageSize - 1) == 0
        );
        assert!(capabilities.maxBufferBytes >= capabilities.pageSize);
        assert!(capabilities.maxExtents > 0);
        assert!(!capabilities.methods.is_empty(), "without a method nothing can be loaded");
        assert!(!capabilities.methods.contains(&Method::NONE));
        assert_eq!(device.service.getCapabilities().expect("capabilities"), capabilities);
    });
}

#[test]
fn buffer_is_zeroed_and_as_large_as_asked() {
    on_every_instance(|device| {
        let page = device.service.getCapabilities().expect("capabilities").pageSize;
        let buffer = device.allocate(5000);
        assert!(buffer.size >= 5000 && buffer.size % page == 0, "{}", buffer.size);
        assert!(content(&buffer.fd, buffer.size as usize).iter().all(|byte| *byte == 0));
    });
}

#[test]
fn load_is_exact_and_its_receipt_adds_up() {
    on_every_instance(|device| {
        let (path, expected) = device.file("model", LEN + 777);
        let mut ids = HashSet::new();
        for mode in [Mode::AUTO, Mode::BUFFERED] {
            let buffer = device.allocate(LEN + 777).fd;
            let kept = duplicate(&buffer);
            let file = open(&path, OFlags::RDONLY);
            let load = TransferRequest { mode, ..request(buffer, file, LEN + 777) };
            let receipt = device.service.transfer(&load).expect("load");
            adds_up(&receipt, LEN + 777);
            assert!(ids.insert(receipt.id), "two requests have the number {}", receipt.id);
            if mode == Mode::BUFFERED {
                assert_eq!(receipt.bytesDirect, 0);
            }
            assert!(content(&kept, LEN + 777) == expected, "{mode:?}: data differ");
        }
    });
}

#[test]
fn mode_direct_is_direct_or_an_error() {
    on_every_instance(|device| {
        let load = TransferRequest { mode: Mode::DIRECT, ..device.load() };
        match device.service.transfer(&load) {
            Ok(receipt) => {
                adds_up(&receipt, LEN);
                assert_eq!(receipt.bytesBuffered, 0, "{receipt:?}");
            }
            Err(status) => assert_eq!(specific(&status), Error::NOT_DIRECT),
        }
    });
}

#[test]
fn load_ends_at_the_end_of_the_file() {
    on_every_instance(|device| {
        let (path, expected) = device.file("short", 10_000);
        let buffer = device.allocate(LEN).fd;
        let kept = duplicate(&buffer);
        let load = request(buffer, open(&path, OFlags::RDONLY), LEN);
        adds_up(&device.service.transfer(&load).expect("load"), 10_000);
        let bytes = content(&kept, LEN);
        assert!(bytes[..10_000] == expected && bytes[10_000..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn save_is_exact_and_leaves_the_rest_alone() {
    on_every_instance(|device| {
        let load = device.load();
        device.service.transfer(&load).expect("load");
        let (path, before) = device.file("target", 2 * LEN);
        for durability in [Durability::NONE, Durability::DATA, Durability::FULL] {
            let save = TransferRequest {
                buffer: duplicate(&load.buffer),
                file: Some(pfd(open(&path, OFlags::WRONLY))),
                extents: vec![extent(4096, 8192, 500_001)],
                direction: Direction::SAVE,
                durability,
                ..Default::default()
            };
            adds_up(&device.service.transfer(&save).expect("save"), 500_001);
        }
        let source = content(&load.buffer, LEN);
        let mut after = vec![0; 2 * LEN];
        File::open(&path).expect("open").read_exact_at(&mut after, 0).expect("read");
        assert!(after[4096..504_097] == source[8192..508_193], "what was saved differs");
        assert!(after[..4096] == before[..4096] && after[504_097..] == before[504_097..]);
    });
}

#[test]
fn probe_predicts_every_extent_and_reads_nothing() {
    on_every_instance(|device| {
        let (path, _) = device.file("probed", LEN);
        let extents = [extent(0, 0, 65_536), extent(65_536, 65_536, 65_536)];
        let plan = device.service.probe(&pfd(open(&path, OFlags::RDONLY)), &extents);
        assert_eq!(plan.expect("probe").extents.len(), extents.len());
    });
}

#[test]
fn many_buffers_are_loaded_at_once() {
    on_every_instance(|device| {
        let (path, expected) = device.file("split", LEN);
        let half = LEN / 2;
        let item = |at: usize| LoadItem {
            size: half as i64,
            extents: vec![extent(at as i64, 0, half as i64)],
        };
        let load = LoadRequest {
            file: Some(pfd(open(&path, OFlags::RDONLY))),
            items: vec![item(0), item(half)],
            ..Default::default()
        };
        let loaded = device.service.load(&load).expect("load").items;
        assert_eq!(loaded.len(), 2);
        let mut ids = HashSet::new();
        for (item, expected) in loaded.iter().zip(expected.chunks(half)) {
            assert_eq!(item.error, 0, "{}", item.message);
            let receipt = item.receipt.as_ref().expect("a receipt");
            adds_up(receipt, half);
            ids.insert(receipt.id);
            let buffer = item.buffer.as_ref().expect("a buffer");
            assert!(content(&buffer.fd, half) == expected);
        }
        assert_eq!(ids.len(), 1, "the numbers of one request: {ids:?}");
    });
}

#[test]
fn descriptor_of_the_client_keeps_its_position() {
    on_every_instance(|device| {
        let (path, _) = device.file("position", LEN);
        let file = File::from(open(&path, OFlags::RDONLY));
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(4242)).expect("seek");
        let copy = file.as_fd().try_clone_to_owned().expect("dup");
        device.service.transfer(&request(device.allocate(LEN).fd, copy, LEN)).expect("load");
        let position = rustix::fs::seek(&file, rustix::fs::SeekFrom::Current(0)).expect("seek");
        assert_eq!(position, 4242);
    });
}

/// With `DMABUFIO_ROUNDS=N` a benchmark, which prints the median of N rounds and judges none.
#[test]
fn large_loads_are_exact_and_timed() {
    const PARTS: usize = 64;
    let rounds = env::var("DMABUFIO_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
    on_every_instance(|device| {
        let (path, part) = device.file("large", LEN);
        let mut file = OpenOptions::new().append(true).open(&path).expect("open");
        for _ in 1..PARTS {
            file.write_all(&part).expect("write");
        }
        file.sync_all().expect("sync");
        for mode in [Mode::AUTO, Mode::BUFFERED] {
            let load = |_| {
                let buffer = device.allocate(PARTS * LEN).fd;
                let file = open(&path, OFlags::RDONLY);
                fadvise(&file, 0, 0, Advice::DontNeed).expect("fadvise");
                let load = TransferRequest { mode, ..request(buffer, file, PARTS * LEN) };
                let start = Instant::now();
                let receipt = device.service.transfer(&load).expect("load");
                let time = start.elapsed();
                adds_up(&receipt, PARTS * LEN);
                let loaded = content(&load.buffer, PARTS * LEN);
                assert!(loaded.chunks(LEN).all(|chunk| chunk == part), "{mode:?}: data differ");
                (time, receipt.method)
            };
            let mut times: Vec<(Duration, Method)> = (0..rounds).map(load).collect();
            times.sort_unstable_by_key(|(time, _)| *time);
            let (time, method) = times[times.len() / 2];
            println!("{mode:?}: {PARTS} MiB in {time:?}, median of {rounds}, {method:?}");
        }
    });
}

//! The service on the kernel's binder, with the system heap and the disk of the VM: everything of
//! `support/service_suite.rs`, and what only the VM can show.

#![allow(missing_docs, reason = "test code")]

#[path = "support/service_suite.rs"]
mod suite;
mod support;

use binder_shim::{describe, ex, pfd};
use dmabufio_core::file::cached_pages;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::mmap::{Access, Mapping};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags, OFlags};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::fixture::{duplicate, expect, o_path, request, Fixture};
use support::{
    big_file, is_patched, open, read_buffer, write_buffer, Descriptor, Random, BIG_BLOCK, PAGE,
};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction, Error::Error as Code, FallbackReason::FallbackReason, Method::Method,
    TransferRequest::TransferRequest,
};

const GIB: usize = 1 << 30;

#[test]
fn gibibyte_load_is_direct_uncached_and_as_fast_as_the_disk() {
    let fixture = Fixture::new();
    let path = big_file(fixture.dir.path(), GIB as u64);
    let direct = open(&path, OFlags::RDONLY | OFlags::DIRECT);
    // As Client::open_for_transfer opens it.
    let (flags, reason) = match fixture.heap {
        Heap::SystemDirect if is_patched() => (OFlags::DIRECT, FallbackReason::EXPORTER),
        Heap::SystemDirect => (OFlags::DIRECT, FallbackReason::NO_IOCTL),
        _ => (OFlags::empty(), FallbackReason::NONE),
    };
    let source = open(&path, OFlags::RDONLY | flags);
    let buffer = fixture.allocate(GIB as i64);
    let memory = Memory::new(32 << 20);

    let load = || {
        let file = source.try_clone().expect("dup");
        let load = request(Some(pfd(duplicate(&buffer.fd))), file, &[(0, 0, GIB as i64)]);
        fixture.service.transfer(&load).unwrap_or_else(|status| panic!("{}", describe(&status)))
    };
    if !is_patched() && fixture.heap == Heap::System {
        let receipt = load();
        assert_eq!(receipt.bytes, GIB as i64);
        assert_eq!(receipt.method, Method::MAPPED_BUFFERED);
        assert_eq!(receipt.firstFallback, FallbackReason::NO_IOCTL);
        return;
    }
    let cold = cached_pages(source.as_fd(), 0, 0).expect("cachestat");
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let receipt = load();
        assert_eq!(receipt.bytesDirect, GIB as i64, "{receipt:?}");
        assert_eq!(receipt.firstFallback, reason);
        ours.push(Duration::from_nanos(receipt.ioNanos as u64));
        plain.push(memory.read_all(&direct, GIB));
    }
    let growth = cached_pages(source.as_fd(), 0, 0).expect("cachestat") - cold;
    assert_eq!(growth, 0, "pages added to the page cache");
    let (ours, plain) = (median(ours), median(plain));
    let ratio = plain.as_secs_f64() / ours.as_secs_f64();
    println!("1 GiB: through the service {ours:?}, plain O_DIRECT {plain:?}, ratio {ratio:.3}");
    assert!(ratio >= 0.9, "through the service {ours:?}, plain O_DIRECT {plain:?}: {ratio:.3}");

    // In parts: a copy of the whole would take a quarter of the VM's memory.
    let fd = duplicate(&buffer.fd);
    let pages = Mapping::new(fd.as_fd(), 0, GIB, Access::Read).expect("map the buffer");
    let block = Random::new(1).bytes(BIG_BLOCK);
    let mut part = vec![0; block.len()];
    for at in (0..GIB).step_by(block.len()) {
        pages.read(at, &mut part).expect("read the buffer");
        assert!(part == block, "the buffer differs from the file after {at} bytes");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Ordinary memory, faulted in, to read into with `O_DIRECT`: as fast as the disk goes.
struct Memory {
    pages: Mapping,
    len: usize,
}

impl Memory {
    fn new(len: usize) -> Self {
        let memfd = memfd_create("memory", MemfdFlags::CLOEXEC).expect("memfd");
        ftruncate(&memfd, len as u64).expect("truncate");
        let pages = Mapping::new(memfd.as_fd(), 0, len, Access::ReadWrite).expect("mmap");
        pages.populate(len).expect("populate");
        Self { pages, len }
    }

    fn read_all(&self, file: &File, total: usize) -> Duration {
        let start = Instant::now();
        let mut done = 0;
        while done < total {
            let n = self.pages.fill(0, self.len, file.as_fd(), done as u64).expect("pread");
            assert!(n > 0, "the file ended at {done}");
            done += n;
        }
        start.elapsed()
    }
}

#[test]
fn five_hundred_random_loads_and_saves_are_exact() {
    const SIZE: u64 = 1 << 20;
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("sparse");
    // Islands of data in a sparse file, some of them above 4 GiB.
    let islands = [0, (1 << 32) - 300_000, (5 << 30) + 12_345];
    let mut mirror: Vec<Vec<u8>> =
        (0..islands.len()).map(|i| Random::new(i as u64).bytes(SIZE as usize)).collect();
    let file = open_new(&path);
    for (offset, data) in islands.iter().zip(&mirror) {
        file.write_all_at(data, *offset).expect("write");
    }
    let buffer = fixture.allocate(SIZE as i64);
    let fd = duplicate(&buffer.fd);
    let mut content = Random::new(99).bytes(SIZE as usize);
    write_buffer(fd.as_fd(), fixture.heap, &content);
    let before = Descriptor::at(&file, 4242);
    let mut random = Random::new(2026);
    for round in 0..500 {
        let island = random.below(islands.len() as u64) as usize;
        let len = 1 + random.below(200_000);
        let from = random.below(SIZE - len + 1);
        let mut at = random.below(SIZE - len - PAGE + 1);
        if random.below(2) == 0 {
            at = at / PAGE * PAGE + (islands[island] + from) % PAGE;
        }
        let extent = ((islands[island] + from) as i64, at as i64, len as i64);
        let save = round % 2 == 1;
        let transfer = TransferRequest {
            direction: if save { Direction::SAVE } else { Direction::LOAD },
            ..request(Some(pfd(duplicate(&buffer.fd))), file.try_clone().expect("dup"), &[extent])
        };
        let receipt = fixture.service.transfer(&transfer);
        let receipt = receipt.unwrap_or_else(|s| panic!("{round} {extent:?}: {}", describe(&s)));
        assert_eq!(receipt.bytes, len as i64, "{round} {extent:?}");
        let in_file = from as usize..(from + len) as usize;
        let in_buffer = at as usize..(at + len) as usize;
        if save {
            mirror[island][in_file].copy_from_slice(&content[in_buffer]);
            let mut island_now = vec![0; SIZE as usize];
            let reader = File::open(&path).expect("open");
            reader.read_exact_at(&mut island_now, islands[island]).expect("read back");
            assert!(island_now == mirror[island], "{round} {extent:?}: the file differs");
        } else {
            content[in_buffer].copy_from_slice(&mirror[island][in_file]);
            let now = read_buffer(fd.as_fd(), fixture.heap, SIZE as usize);
            assert!(now == content, "{round} {extent:?}: the buffer differs");
        }
    }
    assert_eq!(Descriptor::of(&file), before, "the client's descriptor has changed");
}

fn open_new(path: &Path) -> File {
    File::create(path).expect("create");
    open(path, OFlags::RDWR)
}

#[test]
fn o_path_descriptors_are_stopped_by_kernel_binder() {
    let fixture = Fixture::new();
    for spoil in [
        |load: &mut TransferRequest, fd| load.buffer = Some(fd),
        |load: &mut TransferRequest, fd| load.file = Some(fd),
    ] {
        let mut load = fixture.valid();
        spoil(&mut load, pfd(o_path(&fixture)));
        let status = fixture.service.transfer(&load).expect_err("O_PATH");
        assert_eq!(status.exception_code(), ex::TRANSACTION_FAILED, "{}", describe(&status));
    }
    assert_eq!(fixture.service.transfer(&fixture.valid()).expect("valid").bytes, 65_536);
}

#[test]
fn full_disk_is_the_service_specific_error_no_space() {
    let fixture = Fixture::new();
    let buffer = fixture.allocate(1 << 20);
    let small = SmallFs::mount(fixture.dir.path());
    let target = File::create(small.0.join("target")).expect("create");
    let save = TransferRequest {
        direction: Direction::SAVE,
        ..request(buffer.fd, target, &[(0, 0, 1 << 20)])
    };
    let status = fixture.service.transfer(&save).expect_err("a full file system");
    expect(&status, ex::SERVICE_SPECIFIC, "");
    assert_eq!(status.service_specific_error(), Code::NO_SPACE.0, "{}", describe(&status));
    assert!(describe(&status).contains("os error 28"), "{}", describe(&status));
}

/// A tmpfs of 256 KiB.
struct SmallFs(PathBuf);

impl SmallFs {
    fn mount(parent: &Path) -> Self {
        let path = parent.join("small");
        fs::create_dir(&path).expect("mkdir");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(&path)
            .status();
        assert!(mount.is_ok_and(|status| status.success()), "mount a tmpfs");
        Self(path)
    }
}

impl Drop for SmallFs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

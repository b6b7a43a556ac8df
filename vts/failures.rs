//! Requests that are right and cannot be done: each fails with the error that the interface documents.

use super::device::{
    content, expect, extent, on_every_instance, on_every_instance_alone, open, pattern, request,
    specific, Device, LEN,
};
use super::fuse::FuseFile;
use binder_shim::{describe, ex, pfd, BinderResult};
use rustix::fs::{getxattr, ioctl_getflags, ioctl_setflags, setxattr, IFlags, OFlags, XattrFlags};
#[allow(deprecated, reason = "AOSP's rustix has no feature `mount`")]
use rustix::fs::{mount, unmount, MountFlags, UnmountFlags};
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Error::Error, LoadItem::LoadItem, LoadRequest::LoadRequest, Mode::Mode,
    TransferRequest::TransferRequest,
};

/// How long a service waits for the daemon of a file system.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn body_that_cannot_be_aligned_is_not_direct() {
    on_every_instance(|device| {
        let load = device.load();
        let extents = vec![extent(1, 0, LEN as i64 - 1)];
        let load = TransferRequest { mode: Mode::DIRECT, extents, ..load };
        let status = device.service.transfer(&load).expect_err("no page lines up");
        assert_eq!(specific(&status), Error::NOT_DIRECT);
        assert!(content(&load.buffer, LEN).iter().all(|byte| *byte == 0), "bytes moved");
    });
}

#[test]
fn item_that_is_not_direct_fails_by_itself() {
    on_every_instance(|device| {
        let (path, expected) = device.file("items", LEN);
        let item = |at| LoadItem { size: LEN as i64, extents: vec![extent(at, 0, LEN as i64 - 1)] };
        let load = LoadRequest {
            file: Some(pfd(open(&path, OFlags::RDONLY))),
            items: vec![item(1), item(0)],
            mode: Mode::DIRECT,
            ..Default::default()
        };
        let items = device.service.load(&load).expect("load").items;
        assert_eq!(items.len(), 2);
        assert_eq!(Error(items[0].error), Error::NOT_DIRECT, "{}", items[0].message);
        assert!(items[0].buffer.is_none() && items[0].receipt.is_none());
        assert!(!items[0].message.is_empty());
        match &items[1].buffer {
            Some(buffer) => assert!(content(&buffer.fd, LEN - 1) == expected[..LEN - 1]),
            // Where nothing is direct.
            None => assert_eq!(Error(items[1].error), Error::NOT_DIRECT, "{}", items[1].message),
        }
    });
}

/// What `action` returns while a file may not be written, whatever its descriptors say.
///
/// Undone before anything is asserted: on a phone a panic aborts, and nothing is dropped.
fn while_immutable<T>(path: &Path, action: impl FnOnce() -> T) -> T {
    let file = File::open(path).expect("open");
    let flags = || ioctl_getflags(&file).expect("FS_IOC_GETFLAGS");
    ioctl_setflags(&file, flags() | IFlags::IMMUTABLE).expect("FS_IOC_SETFLAGS");
    let value = action();
    ioctl_setflags(&file, flags() - IFlags::IMMUTABLE).expect("FS_IOC_SETFLAGS");
    value
}

#[test]
fn save_that_the_kernel_refuses_is_a_security_exception() {
    on_every_instance(|device| {
        let (path, before) = device.file("immutable", LEN);
        let save = device.save(&path);
        let result = while_immutable(&path, || device.service.transfer(&save));
        let status = result.expect_err("the file is immutable");
        expect(&status, ex::SECURITY);
        assert!(fs::read(&path).expect("read") == before, "bytes moved");
    });
}

/// What `action` returns for an empty file on a file system of 64 KiB. Undone as above.
#[allow(deprecated, reason = "AOSP's rustix has no feature `mount`")]
fn on_small_file_system<T>(device: &Device, action: impl FnOnce(&Path) -> T) -> T {
    let (like, _) = device.file("like", 1);
    let path = device.dir.path().join("small");
    fs::create_dir(&path).expect("mkdir");
    mount("test", &path, "tmpfs", MountFlags::empty(), "size=64k").expect("mount tmpfs");
    let file = path.join("file");
    create_labelled(&file, &like);
    let value = action(&file);
    unmount(&path, UnmountFlags::DETACH).expect("unmount");
    value
}

/// Makes an empty file with the label of another, which is one that the service may be given.
fn create_labelled(path: &Path, like: &Path) {
    File::create(path).expect("create");
    let mut label = [0; 256];
    // Without SELinux there is none.
    if let Ok(len) = getxattr(like, "security.selinux", &mut label) {
        setxattr(path, "security.selinux", &label[..len], XattrFlags::empty()).expect("label");
    }
}

#[test]
fn save_to_a_full_file_system_has_no_space() {
    on_every_instance(|device| {
        let save = |file: &Path| device.service.transfer(&device.save(file));
        let status = on_small_file_system(device, save).expect_err("1 MiB does not fit");
        assert_eq!(specific(&status), Error::NO_SPACE, "{}", describe(&status));
    });
}

#[test]
fn save_beyond_the_largest_file_has_no_space() {
    on_every_instance(|device| {
        let (path, before) = device.file("beyond", 4096);
        // The file systems of phones end at 16 TiB or before.
        let extents = vec![extent(1 << 60, 0, 4096)];
        let save = TransferRequest { extents, ..device.save(&path) };
        let status = device.service.transfer(&save).expect_err("no file is as large");
        assert_eq!(specific(&status), Error::NO_SPACE, "{}", describe(&status));
        assert!(fs::read(&path).expect("read") == before, "the file differs");
    });
}

/// Repeats a request while the service still holds one that an earlier test gave up.
fn once_free<T>(mut request: impl FnMut() -> BinderResult<T>) -> BinderResult<T> {
    let start = Instant::now();
    loop {
        match request() {
            Err(status)
                if status.exception_code() == ex::SERVICE_SPECIFIC
                    && specific(&status) == Error::BUSY
                    && start.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

#[test]
fn read_that_fails_is_an_io_error() {
    on_every_instance_alone(|device| {
        let failing = FuseFile::failing(device.dir.path());
        let file = || open(&failing.path, OFlags::RDONLY);
        let load = request(device.allocate(LEN).fd, file(), LEN);
        let status = once_free(|| device.service.transfer(&load)).expect_err("every read fails");
        assert_eq!(specific(&status), Error::IO, "{}", describe(&status));
        let item = LoadItem { size: LEN as i64, extents: vec![extent(0, 0, LEN as i64)] };
        let load = LoadRequest { file: Some(pfd(file())), items: vec![item], ..Default::default() };
        let items = once_free(|| device.service.load(&load)).expect("load").items;
        assert_eq!(Error(items[0].error), Error::IO, "{}", items[0].message);
        assert!(items[0].buffer.is_none() && items[0].receipt.is_none());
    });
}

#[test]
fn silent_daemon_times_out_and_a_third_request_is_busy() {
    on_every_instance_alone(|device| {
        let stalling = FuseFile::stalling_after(device.dir.path(), &[]);
        let file = || open(&stalling.path, OFlags::RDONLY);
        // What an earlier test left would be one of the two.
        let plan = once_free(|| device.service.probe(&pfd(file()), &[extent(0, 0, 4096)]));
        plan.expect("probe");
        // Opened before any byte is asked for: opening waits for pages that are being read.
        let load = |_| request(device.allocate(LEN).fd, file(), LEN);
        let loads: Vec<TransferRequest> = (0..3).map(load).collect();
        // All begin at once: whichever comes last is refused, and two wait in vain.
        let results: Vec<(Error, Duration)> = thread::scope(|scope| {
            let start = |load| {
                let service = device.service.clone();
                scope.spawn(move || {
                    let start = Instant::now();
                    let status = service.transfer(load).expect_err("no byte comes");
                    (specific(&status), start.elapsed())
                })
            };
            let threads: Vec<_> = loads.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let of = |error| results.iter().filter(move |(found, _)| *found == error);
        assert_eq!((of(Error::BUSY).count(), of(Error::TIMED_OUT).count()), (1, 2), "{results:?}");
        assert!(of(Error::BUSY).all(|(_, time)| *time < PATIENCE / 2), "{results:?}");
        let in_time = |time: Duration| time >= PATIENCE && time < 3 * PATIENCE;
        assert!(of(Error::TIMED_OUT).all(|(_, time)| in_time(*time)), "{results:?}");
    });
}

#[test]
fn load_returns_what_came_before_the_daemon_fell_silent() {
    on_every_instance_alone(|device| {
        let half = 128 << 10;
        let expected = pattern(half);
        let stalling = FuseFile::stalling_after(device.dir.path(), &expected);
        let item = |at: usize| LoadItem {
            size: half as i64,
            extents: vec![extent(at as i64, 0, half as i64)],
        };
        let load = LoadRequest {
            file: Some(pfd(open(&stalling.path, OFlags::RDONLY))),
            items: vec![item(0), item(half)],
            ..Default::default()
        };
        let items = once_free(|| device.service.load(&load)).expect("what is filled").items;
        assert_eq!(items.len(), 2);
        let buffer = items[0].buffer.as_ref().unwrap_or_else(|| panic!("{}", items[0].message));
        assert!(content(&buffer.fd, half) == expected, "data differ");
        assert_eq!(Error(items[1].error), Error::TIMED_OUT, "{}", items[1].message);
        assert!(items[1].buffer.is_none() && items[1].receipt.is_none());
    });
}

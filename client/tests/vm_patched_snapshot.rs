//! Snapshots through the service on the patched kernel: bit-exact, direct both ways, and whole at every
//! moment in which the process that saves is killed.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, SnapshotStore, TaskId, Variant, PAYLOAD_OFFSET,
};
use dmabufio_client::{Buffer, Client};
use dmabufio_core::file::cached_pages;
use dmabufio_core::heap::Heap;
use rustix::fs::{fadvise, Advice};
use std::env;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: u64 = 4096;
const TASK: TaskId = TaskId { user: 0, task: 1 };

fn scratch() -> TempDir {
    TempDir::new_in(env::var_os("DMABUFIO_TEST_DIR").expect("the VM")).expect("a folder")
}

fn picture(width: u32, height: u32) -> Picture {
    Picture {
        width,
        height,
        stride: width * 4,
        format: PixelFormat::Abgr8888,
        rotation: 0,
        density: 560,
        color_space: ColorSpace::SRGB,
    }
}

/// A generator of the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let numbers = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        numbers.take(len as usize).collect()
    }
}

fn bytes_of(buffer: &Buffer, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    buffer.read(0, &mut bytes).expect("read");
    bytes
}

/// Lets the page cache drop the file, which is on the disk.
fn make_cold(path: &Path) -> File {
    let file = File::open(path).expect("open");
    file.sync_all().expect("sync");
    fadvise(&file, 0, 0, Advice::DontNeed).expect("drop its pages");
    file
}

#[test]
fn snapshot_is_exact_and_goes_direct_both_ways() {
    let clients = [
        ("service", Client::service().expect("the service")),
        ("local", Client::local(Heap::System).expect("the system heap")),
    ];
    for (name, client) in &clients {
        // The second one does not fill its last page.
        for (width, height) in [(1440, 3200), (1081, 2399)] {
            let dir = scratch();
            let store = SnapshotStore::open(dir.path(), 1 << 30).expect("a store");
            let picture = picture(width, height);
            let len = picture.payload_len();
            let content = Random(u64::from(width)).bytes(len);
            let buffer = client.allocate(len, "window").expect("a buffer");
            buffer.write(0, &content).expect("write");
            let pixels = Pixels { picture, buffer: buffer.as_fd(), offset: 0 };
            let start = Instant::now();
            let saved = store.save(client, TASK, &pixels, false).expect("save");
            let save = start.elapsed();
            assert_eq!(saved.receipt.direct, len / PAGE * PAGE, "{name}: {:?}", saved.receipt);
            assert_eq!(saved.receipt.bytes(), len);

            // By the page cache, which did not write it.
            let path = dir.path().join("0-1.snapshot");
            drop(make_cold(&path));
            let file = fs::read(&path).expect("read");
            let (pixels, padding) = file[PAYLOAD_OFFSET as usize..].split_at(len as usize);
            assert!(pixels == content, "{name}: other pixels in the file");
            assert!(padding.iter().all(|&byte| byte == 0) && file.len() as u64 % 16384 == 0);

            let file = make_cold(&path);
            let start = Instant::now();
            let snapshot = store.restore(client, TASK, Variant::Full).expect("restore");
            let restore = start.elapsed();
            assert_eq!(snapshot.picture, picture);
            assert!(bytes_of(&snapshot.buffer, content.len()) == content, "{name}: other pixels");
            let receipt = snapshot.receipt;
            assert_eq!(receipt.direct, len.next_multiple_of(PAYLOAD_OFFSET), "{name}: {receipt:?}");
            assert_eq!((receipt.bytes(), receipt.checked), (receipt.direct, true), "{receipt:?}");
            let cached = cached_pages(file.as_fd(), 0, 0).expect("cachestat");
            assert_eq!(cached, 0, "{name}");
            println!("{name}, {width}x{height}: save {save:?}, restore {restore:?}, {receipt:?}");
        }
    }
}

#[test]
fn reduced_snapshot_goes_direct_both_ways() {
    let (dir, client) = (scratch(), Client::service().expect("the service"));
    let store = SnapshotStore::open(dir.path(), 1 << 30).expect("a store");
    let picture = picture(512, 512);
    let buffer = client.allocate(picture.payload_len(), "window").expect("a buffer");
    let block = |i: u32| [i as u8, (i >> 8) as u8, 0x80, 0xff];
    let pixel = |y: u32, x: u32| block(y / 2 * 256 + x / 2);
    let rows = (0..512).flat_map(|y| (0..512).flat_map(move |x| pixel(y, x)));
    buffer.write(0, &rows.collect::<Vec<u8>>()).expect("write");
    let pixels = Pixels { picture, buffer: buffer.as_fd(), offset: 0 };
    let saved = store.save(&client, TASK, &pixels, true).expect("save");
    let reduced = saved.reduced.expect("a reduced snapshot");
    assert_eq!((reduced.direct, reduced.bytes()), (512 * 512, 512 * 512), "{reduced:?}");
    let snapshot = store.restore(&client, TASK, Variant::Reduced).expect("restore");
    let expected: Vec<u8> = (0..256 * 256).flat_map(block).collect();
    assert!(bytes_of(&snapshot.buffer, expected.len()) == expected);
    assert_eq!(snapshot.receipt.direct, 512 * 512, "{:?}", snapshot.receipt);
}

#[test]
fn save_killed_at_any_moment_leaves_the_complete_old_or_the_complete_new_one() {
    let (dir, client) = (scratch(), Client::service().expect("the service"));
    let (folder, picture) = (dir.path().join("store"), picture(360, 400));
    let mut random = Random(12);
    let contents = [1, 2].map(|seed| Random(seed).bytes(picture.payload_len()));
    let raw = ["raw0", "raw1"].map(|name| dir.path().join(name));
    for (path, content) in raw.iter().zip(&contents) {
        fs::write(path, content).expect("write");
    }
    let save = |i: usize| {
        let mut save = Command::new("dmabufio");
        save.args(["snapshot", "save"]).arg(&folder).arg("--from").arg(&raw[i]);
        save.args(["--task", "1", "--size", "360x400"]).stdout(Stdio::null());
        save
    };
    let read = || {
        let store = SnapshotStore::open(&folder, 1 << 30).expect("a store");
        let snapshot = store.restore(&client, TASK, Variant::Full).expect("a snapshot");
        let bytes = bytes_of(&snapshot.buffer, contents[0].len());
        contents.iter().position(|content| *content == bytes).expect("half a snapshot")
    };
    let (mut old, mut new, mut current, mut whole) = (0, 0, 0, Duration::ZERO);
    for kill in 0..100 {
        let next = 1 - current;
        // The machine becomes slower and faster.
        if kill % 10 == 0 {
            let start = Instant::now();
            assert!(save(current).status().expect("dmabufio").success());
            whole = start.elapsed();
            assert_eq!(read(), current);
        }
        let mut child = save(next).spawn().expect("dmabufio");
        // The first half of the time is the start of the program.
        let moment =
            whole.as_micros() as u64 / 2 + random.next() % (whole.as_micros() as u64 * 3 / 4);
        sleep(Duration::from_micros(moment));
        // It may have ended.
        let _ = child.kill();
        let status = child.wait().expect("wait");
        current = read();
        assert!(current == next || !status.success(), "kill {kill}: the save that ended is lost");
        *if current == next { &mut new } else { &mut old } += 1;
        let names = fs::read_dir(&folder).expect("list").count();
        assert_eq!(names, 1, "kill {kill} left something behind");
    }
    println!("a save takes {whole:?}; the old one {old} times, the new one {new} times");
    assert!(old > 0 && new > 0, "{old} and {new} of 100");
}

//! Stores of snapshots on a disk and in memory: what a crash, other files, other processes and other
//! writers of the format leave there.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, Problem, Snapshot, SnapshotError, SnapshotStore,
    TaskId, Variant, PAYLOAD_OFFSET,
};
use dmabufio_client::{Buffer, Client};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::heap::Heap;
use rustix::fs::{flock, mknodat, FileType, FlockOperation, Mode, CWD};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{symlink, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::TempDir;

const TASK: TaskId = TaskId { user: 0, task: 42 };
const CAP: u64 = 1 << 30;
/// No multiple of any page, so that there is padding.
const PICTURE: Picture = Picture {
    width: 101,
    height: 37,
    stride: 416,
    format: PixelFormat::Abgr8888,
    rotation: 270,
    density: 560,
    color_space: ColorSpace::DISPLAY_P3,
};

struct Fixture {
    dir: TempDir,
    client: Client,
}

impl Fixture {
    fn new() -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn at(path: &Path) -> Self {
        let dir = TempDir::new_in(path).expect("a folder");
        Self { dir, client: Client::local(Heap::Memfd).expect("a client") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn store(&self) -> SnapshotStore {
        self.store_of(CAP)
    }

    fn store_of(&self, max_bytes: u64) -> SnapshotStore {
        SnapshotStore::open(self.dir.path(), max_bytes).expect("a store")
    }

    fn buffer(&self, bytes: &[u8]) -> Buffer {
        let buffer = self.client.allocate(bytes.len() as u64, "test").expect("a buffer");
        buffer.write(0, bytes).expect("write");
        buffer
    }

    /// Saves a picture whose bytes follow from `seed`.
    fn save(&self, store: &SnapshotStore, task: TaskId, seed: u8, reduced: bool) -> Vec<TaskId> {
        let buffer = self.buffer(&content(seed));
        let pixels = Pixels { picture: PICTURE, buffer: buffer.as_fd(), offset: 0 };
        let saved = store.save(&self.client, task, &pixels, reduced).expect("save");
        assert_eq!(saved.receipt.bytes(), PICTURE.payload_len());
        assert_eq!(saved.reduced.is_some(), reduced);
        saved.evicted
    }

    fn restore(&self, store: &SnapshotStore, variant: Variant) -> Result<Snapshot, SnapshotError> {
        store.restore(&self.client, TASK, variant)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("list");
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("list"))).collect();
        names.sort();
        names
    }
}

fn content(seed: u8) -> Vec<u8> {
    let byte = |i: u64| (i * 31 + i / 251) as u8 ^ seed;
    (0..PICTURE.payload_len()).map(byte).collect()
}

fn bytes_of(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = vec![0; snapshot.picture.payload_len() as usize];
    snapshot.buffer.read(0, &mut bytes).expect("read");
    bytes
}

fn task(task: u32) -> TaskId {
    TaskId { user: 0, task }
}

/// Field, offset and problem of the error.
fn refusal(result: Result<Snapshot, SnapshotError>) -> (&'static str, u64, Problem) {
    match result.expect_err("an error") {
        SnapshotError::Malformed { field, offset, problem, .. } => (field, offset, problem),
        other => panic!("{other}"),
    }
}

fn python(args: &[&str], input: &[u8]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshot/container.py");
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3");
    child.stdin.take().expect("a pipe").write_all(input).expect("write");
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn saved_snapshot_comes_back_on_a_disk_and_in_memory() {
    for folder in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"] {
        let fixture = Fixture::at(Path::new(folder));
        let store = fixture.store();
        let absent = fixture.restore(&store, Variant::Full).expect_err("an error");
        assert_eq!(absent.to_string(), "task 42 of user 0 has no full snapshot");
        for seed in [1, 2] {
            fixture.save(&store, TASK, seed, true);
            let full = fixture.restore(&store, Variant::Full).expect("restore");
            assert_eq!((full.picture, bytes_of(&full)), (PICTURE, content(seed)));
            let info = store.info(TASK, Variant::Full).expect("info");
            assert_eq!((info.picture, info.bytes), (PICTURE, PAYLOAD_OFFSET + 16384));
            assert_eq!(fixture.names(), ["0-42.reduced", "0-42.snapshot"]);
        }
        let mode = fs::metadata(fixture.path("0-42.snapshot")).expect("stat").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn reduced_snapshot_has_the_mean_of_each_four_pixels() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, TASK, 7, true);
    let reduced = fixture.restore(&store, Variant::Reduced).expect("restore");
    let picture = Picture { width: 51, height: 19, stride: 204, density: 280, ..PICTURE };
    assert_eq!(reduced.picture, picture);
    let (from, to) = (content(7), bytes_of(&reduced));
    for (y, row) in to.chunks_exact(204).enumerate() {
        for (x, byte) in row.iter().enumerate() {
            let (pixel, component) = (x / 4, x % 4);
            let ys = [2 * y, 2 * y + 1].into_iter().filter(|&y| y < 37);
            let all = ys.flat_map(|y| {
                let xs = [2 * pixel, 2 * pixel + 1].into_iter().filter(|&x| x < 101);
                xs.map(move |x| y * 416 + 4 * x + component)
            });
            let values: Vec<u32> = all.map(|at| u32::from(from[at])).collect();
            let mean = values.iter().sum::<u32>() as f64 / values.len() as f64;
            assert_eq!(f64::from(*byte), (mean + 0.5).floor(), "{x} {y}");
        }
    }
    // A save without one leaves none of the old picture.
    fixture.save(&store, TASK, 8, false);
    assert_eq!(fixture.names(), ["0-42.snapshot"]);
}

#[test]
fn other_program_reads_what_is_written_and_writes_what_is_read() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, TASK, 3, true);
    for (name, variant) in [("0-42.snapshot", Variant::Full), ("0-42.reduced", Variant::Reduced)] {
        let snapshot = fixture.restore(&store, variant).expect("restore");
        let Picture { width, height, stride, density, .. } = snapshot.picture;
        let path = fixture.path(name);
        let printed = python(&["read", path.to_str().expect("text")], &[]);
        let digest: String =
            Sha256::digest(bytes_of(&snapshot)).iter().map(|byte| format!("{byte:02x}")).collect();
        let space = ColorSpace::DISPLAY_P3.0;
        let expected = json!([width, height, stride, "AB24", 270, density, space, digest]);
        assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), expected);
    }
    for (format, stride) in [
        (PixelFormat::Rgb565, 204),
        (PixelFormat::Abgr16161616F, 808),
        (PixelFormat::Xrgb8888, 500),
    ] {
        let picture =
            Picture { format, stride, rotation: 0, color_space: ColorSpace::UNKNOWN, ..PICTURE };
        let pixels: Vec<u8> = content(9).into_iter().cycle().take(37 * stride as usize).collect();
        let (path, stride) = (fixture.path("0-42.snapshot"), stride.to_string());
        let path = path.to_str().expect("text");
        let args = ["write", path, "101", "37", &stride, format.name(), "0", "560", "0"];
        python(&args, &pixels);
        let snapshot = fixture.restore(&store, Variant::Full).expect("restore");
        assert_eq!((snapshot.picture, bytes_of(&snapshot)), (picture, pixels));
    }
}

#[test]
fn pixels_anywhere_in_a_buffer_are_saved_and_nothing_else_of_it() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let pixels = content(5);
    for offset in [1_u64, 100, 4096, 5000] {
        let mut bytes = vec![0xaa; pixels.len() + 40_000];
        bytes[offset as usize..][..pixels.len()].copy_from_slice(&pixels);
        let buffer = fixture.buffer(&bytes);
        let from = Pixels { picture: PICTURE, buffer: buffer.as_fd(), offset };
        store.save(&fixture.client, TASK, &from, false).expect("save");
        let snapshot = fixture.restore(&store, Variant::Full).expect("restore");
        assert_eq!(bytes_of(&snapshot), pixels);
        let file = fs::read(fixture.path("0-42.snapshot")).expect("read");
        let (header, rest) = file.split_at(PAYLOAD_OFFSET as usize);
        assert!(rest[..pixels.len()] == pixels, "offset {offset}");
        assert!(rest[pixels.len()..].iter().all(|&byte| byte == 0), "offset {offset}");
        assert!(header[52..16380].iter().all(|&byte| byte == 0), "offset {offset}");
    }
}

#[test]
fn any_changed_byte_of_the_payload_is_found() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, TASK, 1, false);
    let path = fixture.path("0-42.snapshot");
    let file = OpenOptions::new().read(true).write(true).open(&path).expect("open");
    let len = file.metadata().expect("stat").len();
    // The last ones are padding.
    for at in (PAYLOAD_OFFSET..len).step_by(97).chain([len - 1]) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("write");
        let (field, offset, problem) = refusal(fixture.restore(&store, Variant::Full));
        assert_eq!((field, offset), ("payload", PAYLOAD_OFFSET), "byte {at}");
        assert!(matches!(problem, Problem::Checksum { .. }), "byte {at}: {problem}");
        file.write_all_at(&byte, at).expect("write");
    }
    assert_eq!(bytes_of(&fixture.restore(&store, Variant::Full).expect("whole")), content(1));
}

#[test]
fn file_cut_at_any_length_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, TASK, 1, false);
    let path = fixture.path("0-42.snapshot");
    let whole = fs::read(&path).expect("read");
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    let all = whole.len() as u64;
    // From the longest, with each length that cuts the header.
    let in_payload = (1..=all - PAYLOAD_OFFSET).step_by(7).map(|cut| all - cut);
    for len in in_payload.chain((0..=PAYLOAD_OFFSET).rev()) {
        file.set_len(len).expect("cut");
        let (field, offset, problem) = refusal(fixture.restore(&store, Variant::Full));
        let (expected, needed) = match len.checked_sub(PAYLOAD_OFFSET) {
            None => (("header", 0), (PAYLOAD_OFFSET, len)),
            Some(rest) => (("payload", PAYLOAD_OFFSET), (PAYLOAD_OFFSET, rest)),
        };
        let (needed, available) = needed;
        assert_eq!((field, offset), expected, "{len} bytes");
        assert_eq!(problem, Problem::Truncated { needed, available }, "{len} bytes");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).expect("write");
    let trailing = ("payload", PAYLOAD_OFFSET, Problem::Trailing(1));
    assert_eq!(refusal(fixture.restore(&store, Variant::Full)), trailing);
}

#[test]
fn pictures_that_cannot_be_are_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let buffer = fixture.buffer(&content(1));
    let size = buffer.size();
    let save = |picture: Picture, offset: u64, reduced: bool| {
        let pixels = Pixels { picture, buffer: buffer.as_fd(), offset };
        store.save(&fixture.client, TASK, &pixels, reduced).expect_err("an error").to_string()
    };
    for (picture, text) in [
        (Picture { width: 0, ..PICTURE }, "the picture's width: 0 is not more than 0"),
        (Picture { height: 0, ..PICTURE }, "the picture's height: 0 is not more than 0"),
        (Picture { stride: 403, ..PICTURE }, "the picture's stride: 403 is less than 404"),
        (Picture { rotation: 1, ..PICTURE }, "the picture's rotation: 1 is not 0, 90, 180 or 270"),
        (
            Picture { color_space: ColorSpace(1), ..PICTURE },
            "the picture's color space: 0x1 is not a data space of Android",
        ),
    ] {
        assert_eq!(save(picture, 0, true), text);
    }
    let most = Picture { height: u32::MAX, stride: u32::MAX, ..PICTURE };
    for (picture, offset) in [(PICTURE, size), (PICTURE, u64::MAX), (most, 0), (most, 1)] {
        let text = format!(
            "buffer of {size} bytes: has no {} bytes from offset {offset}",
            picture.payload_len()
        );
        for reduced in [false, true] {
            assert_eq!(save(picture, offset, reduced), text);
        }
    }
    let half = Picture { format: PixelFormat::Rgb565, ..PICTURE };
    assert_eq!(save(half, 0, true), "the picture's format: RG16 is not a format of four bytes");
    assert_eq!(fixture.names(), [] as [&str; 0]);
}

#[test]
fn links_pipes_and_folders_are_no_snapshots() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, task(1), 1, false);
    let outside = TempDir::new().expect("a folder");
    let target = outside.path().join("target");
    fs::copy(fixture.path("0-1.snapshot"), &target).expect("copy");
    symlink(&target, fixture.path("0-2.snapshot")).expect("symlink");
    let pipe = fixture.path("0-3.snapshot");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("mkfifo");
    fs::create_dir(fixture.path("0-4.snapshot")).expect("mkdir");
    symlink(&target, fixture.path(".dmabufio-1-2-0")).expect("symlink");
    fs::write(fixture.path("notes"), "other").expect("write");
    // Opening removes none of them.
    let store = fixture.store();
    assert_eq!(fixture.names().len(), 6);
    let entries = store.list().expect("list");
    assert_eq!(entries.iter().map(|entry| entry.task).collect::<Vec<_>>(), [task(1)]);
    for (number, what) in [(2, "a symbolic link"), (3, "a pipe"), (4, "a directory")] {
        let error = store.restore(&fixture.client, task(number), Variant::Full);
        let SnapshotError::Client(error) = error.expect_err("an error") else { panic!("{what}") };
        assert_eq!(error.kind(), Some(ErrorKind::BadDescriptor), "{error}");
        let path = fixture.path(&format!("0-{number}.snapshot"));
        assert_eq!(error.to_string(), format!("{path:?}: {what}; name a regular file"));
    }
    assert_eq!(store.sweep(&[]).expect("sweep"), [task(1)]);
    // A link and a pipe are replaced themselves; a folder stays.
    let old = fs::read(&target).expect("read");
    for number in [2, 3] {
        fixture.save(&store, task(number), 9, false);
        store.restore(&fixture.client, task(number), Variant::Full).expect("restore");
    }
    assert_eq!(fs::read(&target).expect("read"), old);
    let buffer = fixture.buffer(&content(1));
    let pixels = Pixels { picture: PICTURE, buffer: buffer.as_fd(), offset: 0 };
    let error = store.save(&fixture.client, task(4), &pixels, false).expect_err("an error");
    assert!(error.to_string().starts_with("replace the file: Is a directory"), "{error}");
    let names = [".dmabufio-1-2-0", "0-2.snapshot", "0-3.snapshot", "0-4.snapshot", "notes"];
    assert_eq!(fixture.names(), names);
}

#[test]
fn leftovers_of_a_crash_go_when_nobody_is_writing() {
    let fixture = Fixture::new();
    let store = fixture.store();
    fixture.save(&store, task(1), 1, true);
    fs::write(fixture.path(".dmabufio-77-1-0"), "half").expect("write");
    fs::copy(fixture.path("0-1.reduced"), fixture.path("0-2.reduced")).expect("copy");
    // As a save of another process does.
    let other = File::open(fixture.dir.path()).expect("open");
    flock(&other, FlockOperation::LockShared).expect("lock");
    let _ = fixture.store();
    assert_eq!(fixture.names().len(), 4);
    drop(other);
    let _ = fixture.store();
    assert_eq!(fixture.names(), ["0-1.reduced", "0-1.snapshot"]);
}

#[test]
fn oldest_snapshots_go_when_the_cap_is_reached() {
    let fixture = Fixture::new();
    let (full, reduced) = (2 * PAYLOAD_OFFSET, 2 * PAYLOAD_OFFSET);
    let store = fixture.store_of(3 * full + reduced);
    for number in [3, 1] {
        assert_eq!(fixture.save(&store, task(number), 1, false), []);
    }
    assert_eq!(fixture.save(&store, task(2), 1, true), []);
    // A snapshot saved again is a new one.
    assert_eq!(fixture.save(&store, task(3), 2, false), []);
    assert_eq!(fixture.save(&store, task(4), 1, false), [task(1)]);
    // With its reduced one.
    assert_eq!(fixture.save(&store, task(5), 1, false), [task(2)]);
    let entries = store.list().expect("list");
    let tasks: Vec<TaskId> = entries.iter().map(|entry| entry.task).collect();
    assert_eq!(tasks, [task(3), task(4), task(5)]);
    assert!(entries.iter().all(|entry| (entry.bytes, entry.reduced) == (full, false)));
    let small = fixture.store_of(full + reduced - 1);
    let buffer = fixture.buffer(&content(1));
    let pixels = Pixels { picture: PICTURE, buffer: buffer.as_fd(), offset: 0 };
    let error = small.save(&fixture.client, task(6), &pixels, true).expect_err("an error");
    let text = format!("{} bytes are more than the store may have, {}", full + reduced, 65535);
    assert_eq!(error.to_string(), text);
    assert_eq!(fixture.names(), ["0-3.snapshot", "0-4.snapshot", "0-5.snapshot"]);
}

#[test]
fn sweep_keeps_live_tasks_only_and_users_apart() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let other = TaskId { user: 10, task: 1 };
    for id in [task(1), task(2), other] {
        fixture.save(&store, id, 1, true);
    }
    let mut gone = store.sweep(&[task(1), task(7)]).expect("sweep");
    gone.sort();
    assert_eq!(gone, [task(2), other]);
    assert_eq!(fixture.names(), ["0-1.reduced", "0-1.snapshot"]);
    assert!(store.remove(task(1)).expect("remove"));
    assert!(!store.remove(task(1)).expect("nothing to remove"));
    assert_eq!(fixture.names(), [] as [&str; 0]);
}

#[test]
fn reader_beside_many_writers_sees_complete_snapshots_only() {
    let fixture = Fixture::new();
    let stores = [fixture.store(), fixture.store()];
    fixture.save(&stores[0], TASK, 0, true);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let (fixture, store) = (&fixture, &stores[usize::from(writer % 2)]);
                scope.spawn(move || {
                    (0..25).for_each(|n| {
                        fixture.save(store, TASK, writer * 25 + n, n % 2 == 0);
                    });
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let store = fixture.store();
            let mut seen = 0;
            while !stop.load(Ordering::Relaxed) {
                let snapshot = fixture.restore(&store, Variant::Full).expect("a snapshot");
                let bytes = bytes_of(&snapshot);
                assert!(bytes == content(bytes[0]), "of two writers");
                match fixture.restore(&store, Variant::Reduced) {
                    Ok(_) | Err(SnapshotError::NotFound { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                seen += 1;
            }
            seen
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("the reader") > 0);
    });
    let names = fixture.names();
    assert!(names.iter().all(|name| name.starts_with("0-42.")), "{names:?}");
}

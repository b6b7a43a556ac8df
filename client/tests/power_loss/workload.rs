//! What the client does until the power is lost, and what has to be there afterwards.

use crate::Random;
use dmabufio_client::replace::{Cleanup, Replacement};
use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, SnapshotError, SnapshotStore, TaskId, Variant,
};
use dmabufio_client::{Buffer, Client, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::heap::Heap;
use dmabufio_core::transfer::Durability;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

const PAGE: u64 = 4096;
/// The most bytes that a step saves, with its place in the page.
const BUFFER: u64 = 64 << 10;
const CAP: u64 = 1 << 30;
const TASKS: [TaskId; 2] = [TaskId { user: 0, task: 1 }, TaskId { user: 0, task: 2 }];
const PICTURE: Picture = Picture {
    width: 100,
    height: 36,
    stride: 400,
    format: PixelFormat::Abgr8888,
    rotation: 0,
    density: 560,
    color_space: ColorSpace::SRGB,
};

/// One durable action of the client.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Replaces the file `replaced`.
    Replace,
    /// Appends to the file `records`.
    Append,
    /// Saves a snapshot of a task.
    Snapshot { task: usize, reduced: bool },
}

impl Step {
    /// Each kind comes beside each other one, and twice in a row.
    fn of(number: usize) -> Self {
        let mut random = Random::new(number as u64);
        match random.next() % 8 {
            0 | 1 => Self::Replace,
            2..=4 => Self::Append,
            _ => {
                Self::Snapshot { task: random.next() as usize % 2, reduced: random.next() % 2 == 0 }
            }
        }
    }
}

/// The bytes that a step saves.
fn content(number: usize, len: usize) -> Vec<u8> {
    Random::new(0x1000 + number as u64).bytes(len)
}

/// The bytes of a file that a step replaces or appends. Whole pages, and all other lengths.
fn len(number: usize) -> usize {
    let random = Random::new(0x2000 + number as u64).next() as usize;
    match random % 2 {
        0 => (1 + random / 2 % 8) * PAGE as usize,
        _ => 1 + random / 2 % (8 * PAGE as usize),
    }
}

/// The pixels of a snapshot, and of its reduced one: each of those stands for four equal pixels.
fn pixels(number: usize) -> (Vec<u8>, Vec<u8>) {
    let (width, height) = (PICTURE.width as usize, PICTURE.height as usize);
    let reduced = content(number, width * height);
    let pixel = |y: usize, x: usize| &reduced[(y / 2 * (width / 2) + x / 2) * 4..][..4];
    let full = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(y, x)));
    (full.copied().collect(), reduced)
}

/// What is acknowledged after a number of steps. A number of a step stands for what it saved.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    replaced: Option<usize>,
    /// Bytes.
    records: usize,
    /// The step of each, and whether there is a reduced one.
    snapshots: [Option<(usize, bool)>; 2],
}

impl State {
    pub fn after(steps: usize) -> Self {
        let mut state = Self::default();
        for number in 0..steps {
            match Step::of(number) {
                Step::Replace => state.replaced = Some(number),
                Step::Append => state.records += len(number),
                Step::Snapshot { task, reduced } => {
                    state.snapshots[task] = Some((number, reduced));
                }
            }
        }
        state
    }
}

/// The client at work.
pub struct Workload<'a> {
    client: &'a Client,
    root: PathBuf,
    buffer: Buffer,
    records: File,
    store: SnapshotStore,
}

impl<'a> Workload<'a> {
    /// On the empty file system at `root`.
    pub fn new(client: &'a Client, root: &Path) -> Self {
        let buffer = client.allocate(BUFFER, "test").expect("a buffer");
        let records = File::create_new(root.join("records")).expect("create");
        fs::create_dir(root.join("store")).expect("mkdir");
        let store = SnapshotStore::open(&root.join("store"), CAP).expect("a store");
        Self { client, root: root.to_owned(), buffer, records, store }
    }

    /// Returns when the step is acknowledged.
    pub fn run(&self, number: usize) {
        match Step::of(number) {
            Step::Replace => {
                let (path, content) = (self.root.join("replaced"), content(number, len(number)));
                let new = Replacement::new(&path, Cleanup::default()).expect("a new file");
                new.preallocate(content.len() as u64).expect("preallocate");
                self.save(new.file().as_fd(), 0, &content);
                new.publish().expect("publish");
                new.sync_name().expect("sync");
            }
            Step::Append => {
                let at = self.records.metadata().expect("stat").len();
                self.save(self.records.as_fd(), at, &content(number, len(number)));
            }
            Step::Snapshot { task, reduced } => {
                self.buffer.write(0, &pixels(number).0).expect("write");
                let pixels = Pixels { picture: PICTURE, buffer: self.buffer.as_fd(), offset: 0 };
                self.store.save(self.client, TASKS[task], &pixels, reduced).expect("save");
            }
        }
    }

    fn save(&self, file: BorrowedFd<'_>, at: u64, content: &[u8]) {
        let (offset, len) = (at % PAGE, content.len() as u64);
        self.buffer.write(offset, content).expect("write");
        let extents = [Extent { file_offset: at, buffer_offset: offset, len }];
        let save = Transfer::new(self.buffer.as_fd(), file, &extents, Direction::Save);
        let save = Transfer { durability: Durability::Full, ..save };
        assert_eq!(self.client.transfer(&save).expect("save").bytes(), len);
    }
}

/// Checks that the file system at `root` has everything of `acknowledged`, and nothing but what the
/// step that leads to `next` may have changed.
pub fn check(root: &Path, acknowledged: &State, next: &State) -> Result<(), String> {
    let states = [acknowledged, next];
    let read = |name: &str| fs::read(root.join(name)).ok();

    let found = read("replaced");
    let expected = states.map(|state| state.replaced.map(|step| content(step, len(step))));
    if !expected.contains(&found) {
        return Err(format!("replaced: neither old nor new: {:?} bytes", found.map(|f| f.len())));
    }

    let found = read("records").unwrap_or_default();
    let (least, most) = (acknowledged.records, next.records);
    if !(least..=most).contains(&found.len()) {
        return Err(format!("records: {} bytes, not {least} to {most}", found.len()));
    }
    let records = records(least);
    if let Some(at) = (0..least).find(|&at| found[at] != records[at]) {
        return Err(format!("records: byte {at} of {least} acknowledged ones is another"));
    }

    let store = SnapshotStore::open(&root.join("store"), CAP).map_err(|e| format!("store: {e}"))?;
    // By the CPU and the page cache, which did not write them.
    let client = Client::local(Heap::Memfd).expect("a client");
    for (i, task) in TASKS.into_iter().enumerate() {
        let restore = |variant| restore(&client, &store, task, variant);
        let found = (restore(Variant::Full)?, restore(Variant::Reduced)?);
        check_snapshot(&found, states.map(|state| state.snapshots[i]))
            .map_err(|error| format!("{task}: {error}"))?;
    }
    let names = fs::read_dir(root.join("store")).expect("list").flatten();
    let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.find(|name| !name.ends_with(".snapshot") && !name.ends_with(".reduced")) {
        Some(name) => Err(format!("store: {name} is left behind")),
        None => Ok(()),
    }
}

/// The first bytes of `records`, at least `needed`.
fn records(needed: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for number in 0.. {
        if records.len() >= needed {
            break;
        }
        if let Step::Append = Step::of(number) {
            records.extend(content(number, len(number)));
        }
    }
    records
}

fn restore(
    client: &Client,
    store: &SnapshotStore,
    task: TaskId,
    variant: Variant,
) -> Result<Option<Vec<u8>>, String> {
    match store.restore(client, task, variant) {
        Ok(snapshot) => {
            let mut bytes = vec![0; snapshot.picture.payload_len() as usize];
            snapshot.buffer.read(0, &mut bytes).expect("read");
            Ok(Some(bytes))
        }
        Err(SnapshotError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn check_snapshot(
    (full, reduced): &(Option<Vec<u8>>, Option<Vec<u8>>),
    [old, new]: [Option<(usize, bool)>; 2],
) -> Result<(), String> {
    let is = |state: &Option<(usize, bool)>| *full == state.map(|(step, _)| pixels(step).0);
    let state = [new, old].into_iter().find(is).ok_or("neither the old nor the new one")?;
    let expected = state.filter(|(_, reduced)| *reduced).map(|(step, _)| pixels(step).1);
    // While a save goes on, there may be none.
    match *reduced == expected || (old != new && reduced.is_none()) {
        true => Ok(()),
        false => Err(format!("{state:?}: not its reduced one")),
    }
}

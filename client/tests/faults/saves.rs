//! The kinds of save.

use crate::Random;
use dmabufio_client::replace::{Cleanup, Replacement};
use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, SnapshotError, SnapshotStore, TaskId, PAYLOAD_OFFSET,
};
use dmabufio_client::stream::{Acquired, Ring, Stream, StreamRequest};
use dmabufio_client::{Buffer, Client, Error, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::Durability;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const PAGE: u64 = 4096;

/// What each save writes. More than a full disk still has.
pub const LEN: u64 = 4 << 20;

/// The bytes of a frame of a stream, and the frames that are in the file before the fault.
const FRAME: u64 = 256 << 10;
const BEFORE: u64 = 2;

const TASK: TaskId = TaskId { user: 0, task: 1 };
const PICTURE: Picture = Picture {
    width: 1024,
    height: 1024,
    stride: 4096,
    format: PixelFormat::Abgr8888,
    rotation: 0,
    density: 560,
    color_space: ColorSpace::SRGB,
};

/// A kind of save, and its file.
pub struct Save {
    pub name: &'static str,
    pub file: &'static str,
    /// The bytes of its file before, behind which it writes; 0 if it replaces the file.
    pub keeps: u64,
    /// Calls its argument when the disk is to fail.
    pub run: Run,
}

type Run = fn(&Saver, &Save, &dyn Fn()) -> Result<(), Error>;

pub const SAVES: [Save; 5] = [
    Save { name: "replace", file: "replaced", keeps: 0, run: Saver::replace },
    Save { name: "snapshot", file: "store/0-1.snapshot", keeps: 0, run: Saver::snapshot },
    Save { name: "append", file: "appended", keeps: 100_000, run: Saver::append },
    Save { name: "buffered append", file: "buffered", keeps: 100_000, run: Saver::append_buffered },
    Save { name: "stream", file: "recorded", keeps: 24 * PAGE, run: Saver::record },
];

/// The client, and what it saves.
pub struct Saver {
    client: Client,
    root: PathBuf,
    store: SnapshotStore,
    buffer: Buffer,
    new: Vec<u8>,
}

impl Saver {
    /// On an empty file system, where each save gets its old file.
    pub fn new(client: Client, root: &Path) -> Self {
        fs::create_dir(root.join("store")).expect("mkdir");
        let store = SnapshotStore::open(&root.join("store"), 1 << 30).expect("a store");
        let buffer = client.allocate(LEN + PAGE, "test").expect("a buffer");
        let saver = Self { client, root: root.to_owned(), store, buffer, new: Vec::new() };
        let old = Saver { new: Random::new(1).bytes(LEN as usize), ..saver };
        old.snapshot(&SAVES[1], &|| {}).expect("the old snapshot");
        for save in SAVES.iter().filter(|save| save.file != SAVES[1].file) {
            let path = root.join(save.file);
            fs::write(&path, &old.new[..save.keeps.max(1000) as usize]).expect("write");
            File::open(&path).and_then(|file| file.sync_all()).expect("sync");
        }
        Saver { new: Random::new(2).bytes(LEN as usize), ..old }
    }

    /// Whether `file` is the complete new one of `save`.
    pub fn is_new(&self, save: &Save, old: &[u8], file: &[u8]) -> bool {
        match save.file.starts_with("store") {
            true => file[PAYLOAD_OFFSET as usize..] == self.new,
            false => {
                let (kept, saved) = file.split_at(save.keeps as usize);
                kept == &old[..kept.len()] && saved == self.new
            }
        }
    }

    fn open(&self, save: &Save) -> File {
        let file = File::options().read(true).write(true).open(self.root.join(save.file));
        file.expect("open")
    }

    fn transfer(
        &self,
        file: BorrowedFd<'_>,
        at: u64,
        mode: Mode,
        durability: Durability,
    ) -> Result<(), Error> {
        let offset = at % PAGE;
        self.buffer.write(offset, &self.new).expect("write");
        let extents = [Extent { file_offset: at, buffer_offset: offset, len: LEN }];
        let save = Transfer::new(self.buffer.as_fd(), file, &extents, Direction::Save);
        let receipt = self.client.transfer(&Transfer { mode, durability, ..save })?;
        assert_eq!(receipt.bytes(), LEN);
        Ok(())
    }

    fn replace(&self, save: &Save, fault: &dyn Fn()) -> Result<(), Error> {
        let new = Replacement::new(&self.root.join(save.file), Cleanup::default())?;
        new.preallocate(LEN)?;
        fault();
        self.transfer(new.file().as_fd(), 0, Mode::Auto, Durability::Full)?;
        new.publish()?;
        new.sync_name()
    }

    fn snapshot(&self, _save: &Save, fault: &dyn Fn()) -> Result<(), Error> {
        self.buffer.write(0, &self.new).expect("write");
        let pixels = Pixels { picture: PICTURE, buffer: self.buffer.as_fd(), offset: 0 };
        fault();
        match self.store.save(&self.client, TASK, &pixels, false) {
            Err(SnapshotError::Client(error)) => Err(error),
            saved => {
                saved.expect("a snapshot");
                Ok(())
            }
        }
    }

    fn append(&self, save: &Save, fault: &dyn Fn()) -> Result<(), Error> {
        let file = self.open(save);
        fault();
        self.transfer(file.as_fd(), save.keeps, Mode::Auto, Durability::Full)
    }

    /// The data reaches the page cache first, so it is the sync that fails.
    fn append_buffered(&self, save: &Save, fault: &dyn Fn()) -> Result<(), Error> {
        let file = self.open(save);
        self.transfer(file.as_fd(), save.keeps, Mode::Buffered, Durability::None)?;
        fault();
        self.transfer(file.as_fd(), save.keeps, Mode::Buffered, Durability::Full)
    }

    fn record(&self, save: &Save, fault: &dyn Fn()) -> Result<(), Error> {
        let outcome = self.record_frames(&self.open(save), save.keeps, fault);
        let found = fs::read(self.root.join(save.file)).expect("read");
        let (start, len) = (save.keeps as usize, (BEFORE * FRAME) as usize);
        assert!(found[start..][..len] == self.new[..len], "the frames before the fault");
        outcome
    }

    fn record_frames(&self, file: &File, offset: u64, fault: &dyn Fn()) -> Result<(), Error> {
        let request = StreamRequest::new(file.as_fd(), Direction::Save, FRAME, Ring::Allocate(2));
        let durability = Durability::Full;
        let mut stream =
            self.client.open_stream(&StreamRequest { durability, offset, ..request })?;
        for (number, frame) in self.new.chunks(FRAME as usize).enumerate() {
            if number as u64 == BEFORE {
                wait_for_frames(&stream)?;
                fault();
            }
            let Acquired::Buffer { index, .. } = stream.acquire(None)? else {
                panic!("dropped without a deadline");
            };
            stream.buffers()[index].write(0, frame).expect("write");
            stream.submit(index, 0, FRAME, 0)?;
        }
        stream.finish()?;
        stream.wait().map(drop)
    }
}

/// Until the file has those before the fault.
fn wait_for_frames(stream: &Stream) -> Result<(), Error> {
    let mut progress = stream.progress()?;
    while progress.frames < BEFORE && !progress.ended {
        sleep(Duration::from_millis(5));
        progress = stream.progress()?;
    }
    Ok(())
}

//! The log of dm-log-writes, and what a disk may have of it after a loss of power.
//!
//! The log has writes in the order in which they became durable. A write gets there with the next
//! flush that was sent after its completion, immediately before that flush; a write with FUA and a
//! mark get there at once. See Documentation/admin-guide/device-mapper/log-writes.rst of Linux.

use crate::device::SECTOR;
use crate::Random;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a disk writes as a whole.
const BLOCK: usize = 4096;

const MAGIC: u64 = 0x6a_7366_7773_6872;

/// One entry. Places and lengths are in bytes.
#[derive(Debug)]
pub struct Entry {
    /// Its place on the disk.
    pub offset: u64,
    pub len: u64,
    /// The data of a write in the file of the log.
    at: u64,
    pub flush: bool,
    pub fua: bool,
    discard: bool,
    pub mark: Option<String>,
}

impl Entry {
    /// Whether it is in the cache of the disk only, until the next flush.
    fn is_cached(&self) -> bool {
        self.len > 0 && !self.fua
    }
}

/// The log of a disk with sectors of 512 bytes.
#[derive(Debug)]
pub struct Log {
    file: File,
    pub entries: Vec<Entry>,
}

impl Log {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).expect("the log");
        let numbers = |offset: u64| {
            let mut bytes = [0; 32];
            file.read_exact_at(&mut bytes, offset).expect("read the log");
            let number = |i: usize| u64::from_le_bytes(bytes[i * 8..][..8].try_into().expect("8"));
            [number(0), number(1), number(2), number(3)]
        };
        let [magic, version, count, sector] = numbers(0);
        assert_eq!((magic, version, sector & 0xffff_ffff), (MAGIC, 1, SECTOR));
        let mut at = SECTOR;
        let read = |_| {
            let [sector, sectors, flags, data] = numbers(at);
            let has = |bit: u32| flags & (1 << bit) != 0;
            let mark = has(3).then(|| {
                let mut text = vec![0; data as usize];
                file.read_exact_at(&mut text, at + 32).expect("read a mark");
                String::from_utf8(text).expect("a mark")
            });
            let entry = Entry {
                offset: sector * SECTOR,
                len: sectors * SECTOR,
                at: at + SECTOR,
                flush: has(0),
                fua: has(1),
                discard: has(2),
                mark,
            };
            at = entry.at + if entry.discard { 0 } else { entry.len };
            entry
        };
        let entries = (0..count).map(read).collect();
        Self { file, entries }
    }

    /// The place behind a mark.
    pub fn after(&self, mark: &str) -> usize {
        let found = self.entries.iter().position(|entry| entry.mark.as_deref() == Some(mark));
        found.unwrap_or_else(|| panic!("no mark {mark}")) + 1
    }

    /// The text of the last mark before `cut`.
    pub fn last_mark(&self, cut: usize) -> &str {
        let mut marks = self.entries[..cut].iter().rev().flat_map(|entry| &entry.mark);
        marks.next().expect("a mark")
    }

    /// What an entry writes, by block. A discard writes zeros.
    fn blocks(&self, entry: &Entry) -> Vec<(u64, Vec<u8>)> {
        let mut blocks = Vec::new();
        let mut done = 0;
        while done < entry.len {
            let offset = entry.offset + done;
            let len = (BLOCK as u64 - offset % BLOCK as u64).min(entry.len - done);
            let mut bytes = vec![0; len as usize];
            if !entry.discard {
                self.file.read_exact_at(&mut bytes, entry.at + done).expect("read the log");
            }
            blocks.push((offset, bytes));
            done += len;
        }
        blocks
    }
}

/// What a loss of power does to the writes that no flush has made durable.
#[derive(Debug)]
pub enum Cache<'a> {
    /// The disk has them all.
    Kept,
    /// Each is on the disk, or lost, or torn: then some of its blocks are on the disk.
    Lost(&'a mut Random),
}

impl Cache<'_> {
    /// A number below `limit`; 0 if everything is kept.
    fn draw(&mut self, limit: u64) -> u64 {
        match self {
            Self::Kept => 0,
            Self::Lost(random) => random.next() % limit,
        }
    }
}

/// A disk, to which the log is replayed.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    /// What is durable before entry `next`: those blocks that are not all zeros.
    blocks: BTreeMap<u64, Vec<u8>>,
    next: usize,
}

impl<'a> Replay<'a> {
    /// From the disk as it was when the log began.
    pub fn new(log: &'a Log, base: &Path) -> Self {
        let file = File::open(base).expect("the base");
        let len = file.metadata().expect("stat").len();
        let mut replay = Self { log, blocks: BTreeMap::new(), next: 0 };
        let mut block = [0; BLOCK];
        for offset in (0..len).step_by(BLOCK) {
            file.read_exact_at(&mut block, offset).expect("read the base");
            replay.put(offset, &block);
        }
        replay
    }

    /// Writes the disk to `image`, which has no data: as it is when the power is lost behind the
    /// first `cut` entries. No cut may be before the one of the last call.
    pub fn write(&mut self, cut: usize, mut cache: Cache<'_>, image: &File) {
        let entries = &self.log.entries;
        let flushed = entries[..cut].iter().rposition(|entry| entry.flush).unwrap_or(0);
        for entry in &entries[self.next..flushed] {
            for (offset, block) in self.log.blocks(entry) {
                self.put(offset, &block);
            }
        }
        self.next = flushed;
        let put = |offset, block: &[u8]| image.write_all_at(block, offset).expect("write");
        for (offset, block) in &self.blocks {
            put(*offset, block);
        }
        for entry in &entries[flushed..cut] {
            let fate = if entry.is_cached() { cache.draw(3) } else { 0 };
            for (offset, block) in self.log.blocks(entry) {
                let kept = match fate {
                    0 => true,
                    1 => false,
                    _ => cache.draw(2) == 0,
                };
                if kept {
                    put(offset, &block);
                }
            }
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let within = (offset % BLOCK as u64) as usize;
        let block = self.blocks.entry(offset - within as u64).or_insert_with(|| vec![0; BLOCK]);
        block[within..][..bytes.len()].copy_from_slice(bytes);
        if block.iter().all(|&byte| byte == 0) {
            self.blocks.remove(&(offset - within as u64));
        }
    }
}

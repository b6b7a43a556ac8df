//! Files that should be snapshots.

#![no_main]

use crc32c::crc32c;
use dmabufio_client::snapshot::{SnapshotError, SnapshotStore, TaskId, Variant, PAYLOAD_OFFSET};
use libfuzzer_sys::fuzz_target;
use std::fs::{write, File};
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

const HEADER: usize = PAYLOAD_OFFSET as usize;
const TASK: TaskId = TaskId { user: 0, task: 1 };

fn store() -> &'static (TempDir, SnapshotStore, PathBuf) {
    static STORE: OnceLock<(TempDir, SnapshotStore, PathBuf)> = OnceLock::new();
    STORE.get_or_init(|| {
        // In memory.
        let dir = TempDir::new_in("/dev/shm").expect("a folder");
        let store = SnapshotStore::open(dir.path(), 1 << 30).expect("a store");
        let path = dir.path().join("0-1.snapshot");
        (dir, store, path)
    })
}

// The input is the fields of the header; zeros, the checksum and a payload of 0 to 255 pages of 16 KiB are added.
fuzz_target!(|input: (u8, &[u8])| {
    let (pages, fields) = input;
    if fields.len() > HEADER - 4 {
        return;
    }
    let mut header = fields.to_vec();
    header.resize(HEADER - 4, 0);
    header.extend(crc32c(&header).to_le_bytes());
    let (_, store, path) = store();
    write(path, &header).expect("write");
    let len = (u64::from(pages) + 1) * PAYLOAD_OFFSET;
    File::options().write(true).open(path).and_then(|file| file.set_len(len)).expect("the payload");
    match store.info(TASK, Variant::Full) {
        Ok(info) => {
            let payload = info.picture.payload_len().next_multiple_of(PAYLOAD_OFFSET);
            assert_eq!(payload + PAYLOAD_OFFSET, len);
        }
        Err(SnapshotError::Malformed { offset, .. }) => assert!(offset <= PAYLOAD_OFFSET),
        Err(error) => panic!("{error}"),
    }
});

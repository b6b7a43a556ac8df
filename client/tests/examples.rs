//! The examples do what they say.

#![allow(missing_docs, reason = "test code")]

#[path = "../examples/snapshot_store.rs"]
#[allow(dead_code, reason = "its main function reads the command line")]
mod snapshot_store;

use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use std::fs::read_dir;
use tempfile::TempDir;

#[test]
fn snapshot_store_keeps_the_living_task_only() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let client = Client::local(Heap::Memfd).expect("a client");
    snapshot_store::run(&client, dir.path()).expect("all steps");
    let mut left: Vec<_> = read_dir(dir.path())
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["0-1.reduced", "0-1.snapshot"]);
}

//! `dmabufio stream record` with frames that do not end where pages do.

#![allow(missing_docs, reason = "test code")]

use serde_json::Value;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const FRAME: usize = 1_200_000;
const FRAMES: usize = 12;

fn stream(args: &[&str], file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .arg("stream")
        .args(args)
        .args(["--json", "--frame", &FRAME.to_string()])
        .arg(file)
        .output()
        .expect("run dmabufio");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn frames_of_any_length_go_direct() {
    let dir = TempDir::new_in(env::var_os("DMABUFIO_TEST_DIR").expect("the VM")).expect("a folder");
    let path = dir.path().join("film");
    let frames = FRAMES.to_string();
    let recorded = stream(&["record", "--rate", "4", "--frames", &frames], &path);
    assert_eq!((&recorded["written"], &recorded["dropped"]), (&FRAMES.into(), &0.into()));
    // Each end of a frame shares its page with the next one.
    let bounced = recorded["receipt"]["bytes_bounced"].as_u64().expect("a number");
    assert!((1..=FRAMES as u64 * 2 * 4096).contains(&bounced), "{recorded}");
    let film = fs::read(&path).expect("read");
    assert_eq!(film.len(), FRAME * FRAMES);
    for (number, frame) in film.chunks(FRAME).enumerate() {
        assert_eq!(frame[..8], (number as u64).to_le_bytes(), "frame {number}");
    }
    let read = stream(&["read", "--verify"], &path);
    assert_eq!((&read["frames"], &read["verified"]), (&FRAMES.into(), &true.into()));
}

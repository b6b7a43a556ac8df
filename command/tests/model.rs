//! `dmabufio model` as a person runs it, in its own process with the embedded heap.

#![allow(missing_docs, reason = "test code")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn run(args: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .arg("model")
        .args(args)
        .args(paths)
        .args(["--local", "--heap", "memfd"])
        .output()
        .expect("run dmabufio")
}

fn success(args: &[&str], paths: &[&Path]) -> String {
    let output = run(args, paths);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str], paths: &[&Path]) -> Value {
    serde_json::from_str(&success(&[args, &["--json"]].concat(), paths)).expect("JSON")
}

/// A safetensors file of two tensors, one with a name that a terminal would obey.
fn model(dir: &TempDir) -> PathBuf {
    let header = r#"{"a":{"dtype":"F32","shape":[2500],"data_offsets":[0,10000]},
        "b\u001b[31m":{"dtype":"U8","shape":[2,9],"data_offsets":[10000,10018]}}"#;
    let data: Vec<u8> = (0..10018_u32).map(|i| (i * 7 + i / 251) as u8).collect();
    let path = dir.path().join("m.safetensors");
    let len = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&len, header.as_bytes(), &data].concat()).expect("write");
    path
}

fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

#[test]
fn list_escapes_names_for_people_and_keeps_them_for_programs() {
    let dir = scratch();
    let path = model(&dir);
    let text = success(&["list"], &[&path]);
    assert!(text.contains("\"b\\u{1b}[31m\" [2, 9]") && !text.contains('\u{1b}'), "{text}");
    let report = json(&["list"], &[&path]);
    assert_eq!(report["tensors"][1]["name"], "b\u{1b}[31m");
    assert_eq!(report["bytes"], 10018);
}

#[test]
fn load_of_chosen_tensors_is_aligned_and_verified() {
    let dir = scratch();
    let path = model(&dir);
    let options = ["--tensors", "b*", "--align", "64"];
    let plan = json(&[&["plan"], &options[..]].concat(), &[&path]);
    let offset = plan["tensors"][0]["offset"].as_u64().expect("an offset");
    assert_eq!((plan["tensors"].as_array().map(Vec::len), offset % 64), (Some(1), 0));
    let report = json(&[&["load", "--verify"], &options[..]].concat(), &[&path]);
    assert_eq!((&report["bytes"], &report["verified"]), (&Value::from(18), &Value::from(true)));
}

#[test]
fn repack_moves_the_data_to_a_page_and_leaves_nothing_behind_on_failure() {
    let dir = scratch();
    let (path, copy) = (model(&dir), dir.path().join("copy"));
    success(&["repack", "--align", "16K"], &[&path, &copy]);
    let report = json(&["list"], &[&copy]);
    assert_eq!(report["tensors"][0]["offset"], 16384);
    let (before, after) = (fs::read(&path).expect("read"), fs::read(&copy).expect("read"));
    assert!(before.ends_with(&after[16384..]) && after.len() == 16384 + 10018);
    fs::write(&path, b"GGUF").expect("write");
    let output = run(&["repack"], &[&path, &copy]);
    let error = format!(
        "dmabufio: {path:?}: version at offset 4: needs 4 bytes, and 0 are left in the file\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), error);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&copy).expect("read"), after);
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 2);
}

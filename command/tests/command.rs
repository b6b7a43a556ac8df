//! The command `dmabufio` as a person runs it, in its own process with the embedded heap.

#![allow(missing_docs, reason = "test code")]

use rustix::fs::{mknodat, FileType, Mode, CWD};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn scratch() -> TempDir {
    // Beside the build, because /tmp may be a file system without direct I/O.
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn run(args: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .args(args)
        .args(paths)
        .args(["--local", "--heap", "memfd"])
        .output()
        .expect("run dmabufio")
}

fn success(args: &[&str], paths: &[&Path]) -> String {
    let output = run(args, paths);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn failure(args: &[&str], paths: &[&Path]) -> String {
    let output = run(args, paths);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn json(args: &[&str], paths: &[&Path]) -> Value {
    let text = success(&[args, &["--json"]].concat(), paths);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn file(dir: &TempDir, name: &str, len: usize) -> PathBuf {
    let path = dir.path().join(name);
    let content: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
    fs::write(&path, content).expect("write");
    path
}

#[test]
fn load_prints_a_receipt_that_adds_up() {
    let dir = scratch();
    let path = file(&dir, "model", 1_000_003);
    let report = json(&["load", "--verify"], &[&path]);
    let receipt = &report["receipt"];
    let count = |name: &str| receipt[name].as_u64().expect("a count");
    assert_eq!(count("bytes"), 1_000_003);
    let parts = count("bytes_direct") + count("bytes_bounced") + count("bytes_buffered");
    assert_eq!(parts, 1_000_003);
    assert_eq!(report["verified"], true);
    assert_eq!(report["heap"], "memfd");
}

#[test]
fn load_of_a_range_keeps_its_place_in_the_page() {
    let dir = scratch();
    let path = file(&dir, "range", 300_000);
    let report = json(&["load", "--verify", "--offset", "5000", "--length", "100K"], &[&path]);
    let receipt = &report["receipt"];
    assert_eq!(receipt["bytes"], 102_400);
    // The body goes direct where the file system does, which only an equal place allows.
    let bounced = receipt["bytes_bounced"].as_u64().expect("a count");
    let buffered = receipt["bytes_buffered"].as_u64().expect("a count");
    assert!(bounced < 2 * 4096 && (buffered == 0 || buffered == 102_400), "{receipt}");
}

#[test]
fn range_of_no_bytes_is_loaded_and_predicted_as_nothing() {
    let dir = scratch();
    let path = file(&dir, "tensors", 300_000);
    for offset in ["0", "4096", "100", "300000"] {
        let range = ["--offset", offset, "--length", "0"];
        let report = json(&[&["load", "--verify"], &range[..]].concat(), &[&path]);
        assert_eq!(report["receipt"]["bytes"], 0, "{offset}: {report}");
        let plan = json(&[&["probe"], &range[..]].concat(), &[&path]);
        for count in ["bytes_direct", "bytes_bounced", "bytes_buffered"] {
            assert_eq!(plan[count], 0, "{offset}: {plan}");
        }
    }
    let report = json(&["load", "--length", "0", "--split", "4K"], &[&path]);
    assert_eq!(report["receipt"]["bytes"], 0, "{report}");
}

#[test]
fn empty_file_is_saved_as_nothing_and_made_durable() {
    let dir = scratch();
    let (empty, copy) = (file(&dir, "empty", 0), dir.path().join("copy"));
    let report = json(&["save", "--verify"], &[Path::new("--from"), &empty, &copy]);
    assert_eq!(fs::read(copy).expect("read"), b"");
    assert_eq!(report["save"]["bytes"], 0, "{report}");
    assert!(report["save"]["sync_nanos"].as_u64() > Some(0), "{report}");
}

#[test]
fn save_through_a_mapping_goes_direct_up_to_the_last_block() {
    let dir = scratch();
    for (len, direct) in [(0, 0), (4095, 0), (4096, 4096), (100_000, 98_304), (1 << 20, 1 << 20)] {
        let source = file(&dir, "source", len);
        for mode in ["auto", "direct", "buffered"] {
            let copy = dir.path().join(format!("copy-{len}-{mode}"));
            if mode == "direct" && (1..4096).contains(&len) {
                // There is no block, so nothing can go direct.
                continue;
            }
            let args = ["save", "--verify", "--durability", "data", "--mode", mode];
            let report = json(&args, &[Path::new("--from"), &source, &copy]);
            assert!(fs::read(&copy).expect("read") == fs::read(&source).expect("read"), "{report}");
            let direct = if mode == "buffered" { 0 } else { direct };
            let save = &report["save"];
            assert_eq!(
                (&save["bytes"], &save["bytes_direct"]),
                (&len.into(), &direct.into()),
                "{report}"
            );
            let left = if direct == 0 { "bytes_buffered" } else { "bytes_bounced" };
            assert_eq!(save[left], len - direct, "{report}");
            assert!(save["sync_nanos"].as_u64() > Some(0), "{report}");
        }
    }
}

#[test]
fn file_that_says_it_has_nothing_and_has_content_is_refused_by_name() {
    let dir = scratch();
    let copy = dir.path().join("copy");
    let version = Path::new("/proc/version");
    for (args, paths) in [
        (&["load"][..], &[version][..]),
        (&["probe"], &[version]),
        (&["save", "--from"], &[version, &copy]),
    ] {
        let error = failure(args, paths);
        assert!(error.contains("/proc/version"), "{error}");
        assert!(error.contains("says that it has no bytes"), "{error}");
    }
    assert!(!copy.exists());
}

#[test]
fn split_load_fills_many_buffers_and_equals_the_file() {
    let dir = scratch();
    // More buffers than one request can carry.
    let path = file(&dir, "split", 40 * 8192 + 5);
    let report = json(&["load", "--verify", "--split", "8K", "--offset", "3"], &[&path]);
    assert_eq!(report["buffers"], 41);
    assert_eq!(report["receipt"]["bytes"], 40 * 8192 + 2);
    assert!(report["verified"] == true && report["alloc_nanos"].is_null());
    let error = failure(&["load", "--split", "1000"], &[&path]);
    assert!(error.contains("--split 1000: not a multiple of the page size"), "{error}");
}

#[test]
fn empty_file_is_loaded_as_nothing() {
    let dir = scratch();
    let report = json(&["load", "--verify"], &[&file(&dir, "empty", 0)]);
    assert_eq!(report["receipt"]["bytes"], 0);
}

#[test]
fn probe_and_load_agree() {
    let dir = scratch();
    let path = file(&dir, "probed", 200_000);
    let plan = json(&["probe"], &[&path]);
    let receipt = &json(&["load"], &[&path])["receipt"];
    for count in ["bytes_direct", "bytes_bounced", "bytes_buffered", "method"] {
        assert_eq!(plan[count], receipt[count], "{count}");
    }
}

#[test]
fn save_makes_an_equal_file() {
    let dir = scratch();
    let source = file(&dir, "source", 123_457);
    let target = dir.path().join("target");
    success(&["save", "--verify", "--from"], &[&source, &target]);
    assert!(fs::read(&source).expect("read") == fs::read(&target).expect("read"));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 2, "something is left behind");
}

#[test]
fn save_replaces_a_file_and_keeps_its_permissions() {
    let dir = scratch();
    let source = file(&dir, "source", 5000);
    let target = file(&dir, "target", 100_000);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).expect("chmod");
    success(&["save", "--from"], &[&source, &target]);
    assert!(fs::read(&source).expect("read") == fs::read(&target).expect("read"));
    assert_eq!(fs::metadata(&target).expect("stat").permissions().mode() & 0o777, 0o640);
}

#[test]
fn save_that_cannot_load_leaves_the_destination_alone() {
    let dir = scratch();
    let target = file(&dir, "target", 1000);
    let before = fs::read(&target).expect("read");
    let error = failure(&["save", "--from"], &[&dir.path().join("absent"), &target]);
    assert!(error.contains("absent") && error.contains("os error 2"), "{error}");
    assert!(fs::read(&target).expect("read") == before);
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let dir = scratch();
    let error = failure(&["load"], &[&dir.path().join("absent")]);
    assert!(error.contains("absent: No such file") || error.contains("os error 2"), "{error}");
    let error = failure(&["load"], &[dir.path()]);
    assert!(error.contains("a directory; name a regular file"), "{error}");
    let path = file(&dir, "short", 10);
    let error = failure(&["load", "--offset", "11"], &[&path]);
    assert!(error.contains("beyond the end"), "{error}");
}

#[test]
fn pipe_is_refused_by_its_type_and_not_waited_for() {
    let dir = scratch();
    let pipe = dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("mkfifo");
    let commands: [&[&str]; 5] = [
        &["load"],
        &["load", "--split", "4K"],
        &["probe"],
        &["bench"],
        &["save", "copy", "--from"],
    ];
    for args in commands {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
            .args(args)
            .arg(&pipe)
            .args(["--local", "--heap", "memfd"])
            .current_dir(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run dmabufio");
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().expect("wait").is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        child.kill().expect("kill");
        let output = child.wait_with_output().expect("wait");
        assert_eq!(output.status.code(), Some(1), "{args:?} waits for ever");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("a pipe; name a regular file"), "{args:?}: {error}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1, "something is left behind");
}

#[test]
fn symbolic_links_are_followed() {
    let dir = scratch();
    let path = file(&dir, "model", 10_000);
    let link = dir.path().join("link");
    symlink(&path, &link).expect("symlink");
    assert_eq!(json(&["load", "--verify"], &[&link])["receipt"]["bytes"], 10_000);
}

#[test]
fn doctor_says_which_heaps_work() {
    let output = run(&["doctor", "--json"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    for subject in ["kernel", "heap system", "heap memfd", "service", "file system", "UFS device"] {
        assert!(findings.iter().any(|finding| finding["subject"] == subject), "{subject}");
    }
}

#[test]
fn service_that_is_not_there_is_named_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .args(["load", "/dev/null", "--socket", "/nonexistent/socket"])
        .output()
        .expect("run dmabufio");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("/nonexistent/socket"), "{error}");
    assert!(error.contains("dmabufio-service --socket"), "{error}");
}

#[test]
fn file_too_large_for_one_buffer_is_told_of_split() {
    let dir = scratch();
    let path = dir.path().join("huge");
    let huge = fs::File::create(&path).expect("create");
    // Sparse, and beyond the memory of any machine.
    huge.set_len(1 << 43).expect("grow");
    let error = failure(&["load"], &[&path]);
    assert!(error.contains("too large for one buffer; use --split"), "{error}");
}

#[test]
fn version_names_the_command() {
    let output = run(&["--version"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, format!("dmabufio {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_fits_a_terminal() {
    for command in ["", "load", "save", "probe", "doctor", "bench", "snapshot save"] {
        for help in ["-h", "--help"] {
            let args = command.split_whitespace().chain([help]);
            let output = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
                .args(args)
                .output()
                .expect("run dmabufio");
            assert!(output.status.success(), "{command} {help}");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                // A summary lists all values in one line; AOSP's clap breaks none.
                let line = line.split(" [possible values").next().unwrap_or_default();
                assert!(line.chars().count() <= 100, "{command} {help}: {line}");
            }
        }
    }
}

//! Where the command prints: outputs that cannot be written, and file names that are no plain text.

#![allow(missing_docs, reason = "test code")]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const DMABUFIO: &str = env!("CARGO_BIN_EXE_dmabufio");
const LOCAL: [&str; 3] = ["--local", "--heap", "memfd"];

fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn load(path: &Path) -> Command {
    let mut command = Command::new(DMABUFIO);
    command.arg("load").arg(path).args(LOCAL);
    command
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("open")
}

/// Writing to it fails with `EPIPE`.
fn nobody_reads() -> OwnedFd {
    UnixStream::pair().expect("two sockets").0.into()
}

fn ended(output: &Output, status: i32) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{}: {error}", output.status);
    error
}

#[test]
fn result_that_cannot_be_written_is_a_failure() {
    let dir = scratch();
    let path = dir.path().join("model");
    fs::write(&path, "content").expect("write");
    let doctor = Command::new(DMABUFIO).arg("doctor").stdout(full()).output().expect("run");
    assert!(doctor.status.code().is_some_and(|status| status == 1), "{doctor:?}");
    for args in [&[][..], &["--json"]] {
        let output = load(&path).args(args).stdout(full()).output().expect("run");
        let error = ended(&output, 1);
        let text = "dmabufio: write to standard output: No space left on device (os error 28)\n";
        assert_eq!(error, text, "{args:?}");
    }
    for args in [&["--version"][..], &["--help"], &["load", "--help"], &["help"]] {
        let output = Command::new(DMABUFIO).args(args).stdout(full()).output().expect("run");
        assert!(ended(&output, 1).contains("os error 28"), "{args:?}");
    }
}

#[test]
fn failure_that_cannot_be_written_keeps_its_status() {
    let dir = scratch();
    let absent = dir.path().join("absent");
    for args in [&[][..], &["--json"]] {
        let mut command = load(&absent);
        let output = command.args(args).stdout(full()).stderr(full()).output().expect("run");
        ended(&output, 1);
    }
    let output = Command::new(DMABUFIO).arg("nonsense").stderr(full()).output().expect("run");
    ended(&output, 2);
}

#[test]
fn closed_pipe_ends_the_command_quietly() {
    let dir = scratch();
    let path = dir.path().join("model");
    fs::write(&path, "content").expect("write");
    let commands: [&[&str]; 3] = [&["--version"], &["--help"], &["doctor"]];
    for args in commands {
        let writer = nobody_reads();
        let output = Command::new(DMABUFIO).args(args).stdout(writer).output().expect("run");
        assert_eq!(ended(&output, 1), "", "{args:?}");
    }
    for args in [&[][..], &["--json"]] {
        let writer = nobody_reads();
        let output = load(&path).args(args).stdout(writer).output().expect("run");
        assert_eq!(ended(&output, 1), "", "{args:?}");
    }
}

#[test]
fn closed_descriptors_are_no_panic() {
    let script = r#""$0" load /dev/null --local --heap memfd >&- 2>&-"#;
    let status = Command::new("sh").args(["-c", script, DMABUFIO]).status().expect("run");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn control_characters_of_a_name_do_not_reach_the_terminal() {
    let dir = scratch();
    let path = dir.path().join("a\u{1b}[31m\u{9b}b\nverified");
    let absent = load(&path).output().expect("run");
    fs::write(&path, "content").expect("write");
    let probe = Command::new(DMABUFIO).arg("probe").arg(&path).args(LOCAL).output().expect("run");
    let copy = dir.path().join("copy\u{1b}");
    let mut save = Command::new(DMABUFIO);
    let save = save.arg("save").arg(&copy).arg("--from").arg(&path).args(LOCAL);
    let folder = dir.path().join("folder\u{1b}");
    fs::create_dir(&folder).expect("mkdir");
    for output in [
        load(&path).output().expect("run"),
        load(&path).arg("--json").output().expect("run"),
        load(&path).args(["--offset", "9"]).output().expect("run"),
        load(&folder).output().expect("run"),
        save.output().expect("run"),
        save.arg("--json").output().expect("run"),
        absent,
        probe,
    ] {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        let seen = text.chars().find(|&c| c.is_control() && c != '\n');
        assert_eq!(seen, None, "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("verified")), "{text}");
    }
}

#[test]
fn json_tells_all_names_apart() {
    let dir = scratch();
    let mut seen = Vec::new();
    for byte in [0xfe, 0xff] {
        let path = dir.path().join(OsStr::from_bytes(&[b'm', byte]));
        let error = load(&path).arg("--json").output().expect("run");
        let error: Value = serde_json::from_slice(&error.stdout).expect("JSON");
        let error = error["error"].as_str().expect("text").to_owned();
        assert!(error.contains(&format!("m\\x{byte:X}")), "{error}");
        fs::write(&path, "content").expect("write");
        let output = load(&path).arg("--json").output().expect("run");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let hex = report["file_hex"].as_str().expect("the bytes");
        assert!(hex.ends_with(&format!("2f6d{byte:02x}")), "{hex}");
        seen.push(report["file"].clone());
    }
    assert_ne!(seen[0], seen[1]);
    let path = dir.path().join("tab\t\\xff");
    fs::write(&path, "content").expect("write");
    let output = load(&path).arg("--json").output().expect("run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["file"].as_str(), path.to_str());
    assert!(report.get("file_hex").is_none());
}

//! `dmabufio load` with an expected digest, in its own process with the embedded heap.

#![allow(missing_docs, reason = "test code")]

use serde_json::{json, Value};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
    sum: String,
}

impl Fixture {
    /// A folder with a file, and a list of sha256sum for it and for others.
    fn new() -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|i| (i * 31 + i / 253) as u8).collect();
        fs::create_dir(dir.path().join("models")).expect("mkdir");
        for name in ["models/model", "other", "a\\b"] {
            fs::write(dir.path().join(name), &bytes).expect("write");
        }
        fs::write(dir.path().join("model"), "of another folder").expect("write");
        let sums = Command::new("sha256sum")
            .args(["model", "models/model", "a\\b"])
            .current_dir(dir.path())
            .output()
            .expect("sha256sum");
        fs::write(dir.path().join("SHA256SUMS"), &sums.stdout).expect("write");
        let text = String::from_utf8(sums.stdout).expect("text");
        let sum = text.lines().nth(1).expect("a line")[..64].to_owned();
        Self { dir, sum }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, file: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmabufio"));
        command.args(["load", "--local", "--heap", "memfd"]).arg(file).args(args);
        command.current_dir(self.dir.path()).output().expect("run dmabufio")
    }

    fn success(&self, file: &str, args: &[&str]) -> Value {
        let output = self.run(file, &[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn refusal(&self, file: &str, args: &[&str]) -> String {
        let output = self.run(file, args);
        assert_eq!(output.status.code(), Some(1), "{}", output.status);
        String::from_utf8(output.stderr).expect("text")
    }
}

#[test]
fn expected_digest_passes_in_one_buffer_and_in_many() {
    let fixture = Fixture::new();
    let sum = fixture.sum.as_str();
    for split in [&[][..], &["--split", "64K"]] {
        let report = fixture.success("models/model", &[&["--sha256", sum], split].concat());
        assert_eq!(report["sha256"], json!(sum));
        let report = fixture.success("models/model", &[&["--sums", "SHA256SUMS"], split].concat());
        assert_eq!(report["sha256"], json!(sum));
    }
    assert_eq!(fixture.success("models/model", &[])["sha256"], Value::Null);
    // sha256sum escapes this name.
    assert_eq!(fixture.success("a\\b", &["--sums", "SHA256SUMS"])["sha256"], json!(sum));
}

#[test]
fn other_content_is_an_error_that_names_both_digests() {
    let fixture = Fixture::new();
    let sum = fixture.sum.as_str();
    let path = fixture.at("models/model");
    let mut bytes = fs::read(&path).expect("read");
    // The last byte, and one in the middle.
    for at in [1_000_002, 500_000] {
        bytes[at] ^= 0x80;
        fs::write(&path, &bytes).expect("write");
        let other = Command::new("sha256sum").arg(&path).output().expect("sha256sum").stdout;
        let other = String::from_utf8(other).expect("text")[..64].to_owned();
        for split in [&[][..], &["--split", "64K"]] {
            let error =
                fixture.refusal("models/model", &[&["--sums", "SHA256SUMS"], split].concat());
            let text = format!("what was loaded has the SHA-256 {other}, and not {sum}");
            assert_eq!(error, format!("dmabufio: models/model: {text}\n"));
        }
    }
}

#[test]
fn digest_is_of_the_range_that_was_loaded() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.at("models/model")).expect("read");
    fs::write(fixture.at("part"), &bytes[5000..305_000]).expect("write");
    let sum = Command::new("sha256sum").arg(fixture.at("part")).output().expect("sha256sum").stdout;
    let sum = String::from_utf8(sum).expect("text")[..64].to_owned();
    for split in [&[][..], &["--split", "64K"]] {
        let range = ["--offset", "5000", "--length", "300000", "--sha256", &sum];
        fixture.success("models/model", &[&range, split].concat());
    }
}

#[test]
fn list_without_the_file_and_list_that_is_none_are_errors() {
    let fixture = Fixture::new();
    let error = fixture.refusal("other", &["--sums", "SHA256SUMS"]);
    assert_eq!(error, "dmabufio: SHA256SUMS: has no line for other\n");
    fs::write(fixture.at("none"), "# a comment\n\nsomething else\n").expect("write");
    let error = fixture.refusal("other", &["--sums", "none"]);
    let text = "line 3: not a digest and a name, as sha256sum writes them";
    assert_eq!(error, format!("dmabufio: none: {text}\n"));
    for wrong in [&["--sha256", "abc"][..], &["--sums", "SHA256SUMS", "--offset", "1"]] {
        assert_eq!(fixture.run("other", wrong).status.code(), Some(2), "{wrong:?}");
    }
}

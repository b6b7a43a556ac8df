//! `dmabufio snapshot` as a person runs it, in its own process with the embedded heap.

#![allow(missing_docs, reason = "test code")]

use serde_json::{json, Value};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Instant;
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `dmabufio snapshot ACTION STORE ARGS...`
    fn command(&self, action: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmabufio"));
        command.args(["snapshot", action]).arg(self.at("store")).args(args);
        command.args(["--local", "--heap", "memfd"]).current_dir(self.dir.path());
        command
    }

    fn run(&self, action: &str, args: &[&str]) -> Output {
        self.command(action, args).output().expect("run dmabufio")
    }

    fn success(&self, action: &str, args: &[&str]) -> String {
        let output = self.run(action, args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, action: &str, args: &[&str]) -> Value {
        let printed = self.success(action, &[args, &["--json"]].concat());
        serde_json::from_str(&printed).expect("JSON")
    }

    fn refusal(&self, action: &str, args: &[&str]) -> String {
        let output = self.run(action, args);
        assert_eq!(output.status.code(), Some(1), "{}", output.status);
        String::from_utf8(output.stderr).expect("text")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.at(name), bytes).expect("write");
    }
}

fn pixels(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21 ^ seed) as u8).collect()
}

/// What another decoder sees in a PNG.
fn decoded(path: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshot/png.py");
    let output = Command::new("python3").arg("-B").arg(script).arg(path).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sha256(bytes: &[u8]) -> String {
    let mut sum = Command::new("sha256sum");
    let mut child = sum.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("write");
    let output = child.wait_with_output().expect("wait");
    String::from_utf8(output.stdout).expect("text")[..64].to_owned()
}

#[test]
fn raw_pixels_are_saved_listed_and_restored_as_a_png() {
    let fixture = Fixture::new();
    let raw = pixels(416 * 37, 1);
    fixture.write("raw", &raw);
    let save = [
        "--task",
        "7",
        "--user",
        "10",
        "--from",
        "raw",
        "--size",
        "101x37",
        "--stride",
        "416",
        "--rotation",
        "90",
        "--density",
        "254",
        "--reduced",
    ];
    let saved = fixture.json("save", &save);
    let picture = json!({
        "width": 101, "height": 37, "stride": 416, "format": "AB24", "rotation": 90,
        "density": 254, "color_space": 142_671_872,
    });
    assert_eq!((&saved["picture"], &saved["receipt"]["bytes"]), (&picture, &json!(15392)));
    let mode = fs::metadata(fixture.at("store")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let info = fixture.json("info", &["--task", "7", "--user", "10"]);
    assert_eq!((&info["picture"], &info["bytes"]), (&picture, &json!(32768)));
    let listed = fixture.json("list", &[]);
    let row = &listed["snapshots"][0];
    assert_eq!(
        (&row["user"], &row["task"], &row["reduced"]),
        (&json!(10), &json!(7), &json!(true))
    );
    assert_eq!((&row["picture"], &row["error"]), (&picture, &Value::Null));

    let restored = fixture.json("restore", &["--task", "7", "--user", "10", "--png", "out.png"]);
    assert_eq!(restored["picture"], picture);
    let rows: Vec<u8> = raw.chunks_exact(416).flat_map(|row| &row[..404]).copied().collect();
    let names = ["IHDR", "pHYs", "sRGB", "IEND"];
    let expected = json!([101, 37, 8, 6, names, [[10000, 10000, 1]], sha256(&rows)]);
    let png = decoded(&fixture.at("out.png"));
    assert_eq!(png, expected);
    let reduced = ["--task", "7", "--user", "10", "--reduced", "--png", "small.png"];
    fixture.success("restore", &reduced);
    let small = decoded(&fixture.at("small.png"));
    assert_eq!((&small[0], &small[1]), (&json!(51), &json!(19)));
}

#[test]
fn png_has_the_components_of_every_format_in_its_own_order() {
    let fixture = Fixture::new();
    let raw = [0x12, 0x34, 0x56, 0xf8, 0xff, 0xff, 0xff, 0x3f];
    fixture.write("raw", &raw);
    for (format, size, bits, colour, expected) in [
        ("RGBA_8888", "2x1", 8, 6, raw.to_vec()),
        ("AR24", "1x2", 8, 6, vec![0x56, 0x34, 0x12, 0xf8, 0xff, 0xff, 0xff, 0x3f]),
        ("XB24", "2x1", 8, 2, vec![0x12, 0x34, 0x56, 0xff, 0xff, 0xff]),
        ("XR24", "2x1", 8, 2, vec![0x56, 0x34, 0x12, 0xff, 0xff, 0xff]),
        // 0x3412, 0xf856, 0xffff, 0x3fff: rounded, as floating-point numbers would be.
        ("RGB_565", "4x1", 8, 2, vec![49, 130, 148, 255, 8, 181, 255, 255, 255, 58, 255, 255]),
        (
            "AB30",
            "2x1",
            16,
            6,
            // 0xf8563412 has 0x012, 0x18d, 0x385 and 3; 0x3fffffff has three 0x3ff and 0.
            [1153_u16, 25432, 57719, 65535, 65535, 65535, 65535, 0]
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect(),
        ),
    ] {
        let options = ["--task", "1", "--from", "raw", "--size", size, "--format", format];
        fixture.success("save", &options);
        fixture.success("restore", &["--task", "1", "--png", "out.png"]);
        let png = decoded(&fixture.at("out.png"));
        assert_eq!((&png[2], &png[3]), (&json!(bits), &json!(colour)), "{format}: {png}");
        assert_eq!(png[6], json!(sha256(&expected)), "{format}");
    }
    let options = ["--task", "1", "--from", "raw", "--size", "1x1", "--format", "RGBA_FP16"];
    fixture.success("save", &options);
    let error = fixture.refusal("restore", &["--task", "1", "--png", "float.png"]);
    assert_eq!(error, "dmabufio: float.png: a PNG has no floating-point components\n");
    assert!(!fixture.at("float.png").exists());
}

#[test]
fn what_screencap_writes_is_saved_without_further_options() {
    let fixture = Fixture::new();
    let header: Vec<u8> = [30_u32, 20, 1, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
    let raw = pixels(30 * 20 * 4, 3);
    fixture.write("screen", &[&header[..], &raw].concat());
    let saved = fixture.json("save", &["--task", "1", "--from", "screen"]);
    let picture = &saved["picture"];
    assert_eq!((&picture["width"], &picture["height"]), (&json!(30), &json!(20)));
    assert_eq!(
        (&picture["format"], &picture["color_space"]),
        (&json!("AB24"), &json!(143_261_696))
    );
    fixture.success("restore", &["--task", "1", "--png", "out.png"]);
    assert_eq!(decoded(&fixture.at("out.png"))[6], json!(sha256(&raw)));
    fixture.write("cut", &[&header[..], &raw[..100]].concat());
    let error = fixture.refusal("save", &["--task", "1", "--from", "cut"]);
    let text = "dmabufio: cut: has 116 bytes, and 20 rows of 120 bytes from offset 16 need 2416\n";
    assert_eq!(error, text);
    fixture.write("other", b"\x89PNG\r\n\x1a\n and something more");
    let error = fixture.refusal("save", &["--task", "1", "--from", "other"]);
    assert!(error.contains("not from screencap; give --size WIDTHxHEIGHT"), "{error}");
}

#[test]
fn damaged_snapshot_is_never_shown() {
    let fixture = Fixture::new();
    fixture.write("raw", &pixels(4096, 5));
    fixture.success("save", &["--task", "1", "--from", "raw", "--size", "32x32"]);
    let path = fixture.at("store/0-1.snapshot");
    let right = fs::read(&path).expect("read");
    for at in [20000, 40] {
        let mut bytes = right.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("write");
        let error = fixture.refusal("restore", &["--task", "1", "--png", "out.png"]);
        let field = if at == 40 { "header at offset 0" } else { "payload at offset 16384" };
        assert!(
            error.starts_with(&format!("dmabufio: {path:?}: {field}: has the CRC-32C ")),
            "{error}"
        );
        assert!(!fixture.at("out.png").exists());
    }
    let listed = fixture.json("list", &[]);
    let row = &listed["snapshots"][0];
    assert!(row["error"].as_str().is_some_and(|error| error.contains("header")), "{row}");
    let error = fixture.refusal("restore", &["--task", "2"]);
    assert_eq!(error, "dmabufio: task 2 of user 0 has no full snapshot\n");
}

#[test]
fn size_cap_removes_the_oldest_snapshots() {
    let fixture = Fixture::new();
    fixture.write("raw", &pixels(4096, 5));
    for task in ["1", "2", "3"] {
        let save = ["--task", task, "--from", "raw", "--size", "32x32", "--max-bytes", "64K"];
        let saved = fixture.json("save", &save);
        let evicted = if task == "3" { json!([{ "user": 0, "task": 1 }]) } else { json!([]) };
        assert_eq!(saved["evicted"], evicted);
    }
}

#[test]
fn killed_save_leaves_the_complete_old_or_the_complete_new_snapshot() {
    let fixture = Fixture::new();
    let seeds = [1, 2];
    for seed in seeds {
        fixture.write(&format!("raw{seed}"), &pixels(1440 * 800 * 4, seed));
    }
    let save = |seed: u32| {
        let from = format!("raw{seed}");
        fixture.command("save", &["--task", "1", "--from", &from, "--size", "1440x800"])
    };
    let start = Instant::now();
    assert!(save(1).stdout(Stdio::null()).status().expect("run").success());
    let whole = start.elapsed();
    let sums = seeds.map(|seed| sha256(&pixels(1440 * 800 * 4, seed)));
    let mut seen = [0, 0];
    for i in 0..240_u32 {
        if i >= 24 && seen.iter().all(|&times| times > 0) {
            break;
        }
        let mut child = save(1 + i % 2).stdout(Stdio::null()).spawn().expect("run");
        // Moments all over the save, and some behind its end, which a busy machine puts off.
        sleep(whole * (i * 7 % 24) / 20 * (1 + i / 24));
        let _ = child.kill();
        child.wait().expect("wait");
        fixture.success("restore", &["--task", "1"]);
        let file = fs::read(fixture.at("store/0-1.snapshot")).expect("read");
        let sum = sha256(&file[16384..][..1440 * 800 * 4]);
        let which = sums.iter().position(|one| *one == sum).expect("a complete snapshot");
        seen[which] += 1;
        let names = fs::read_dir(fixture.at("store")).expect("list").count();
        assert_eq!(names, 1, "restore removes what is left behind");
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

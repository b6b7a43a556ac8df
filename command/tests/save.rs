//! Tests the effects of `dmabufio save` on the destination and its folder, also after a signal.

#![allow(missing_docs, reason = "test code")]

use rustix::fs::{mknodat, FileType, Mode, CWD};
use rustix::process::{kill_process, Pid, Signal};
use std::fs::{self, File};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DMABUFIO: &str = env!("CARGO_BIN_EXE_dmabufio");
const OLD: &[u8] = b"old content";

/// A folder with the file `source` to save.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        fs::write(dir.path().join("source"), [7; 10_000]).expect("write");
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of old content.
    fn old(&self, name: &str) -> PathBuf {
        fs::write(self.at(name), OLD).expect("write");
        self.at(name)
    }

    fn command(&self, destination: &Path) -> Command {
        let mut command = Command::new(DMABUFIO);
        command.args(["save", "--local", "--heap", "memfd", "--from"]).arg(self.at("source"));
        command.arg(destination);
        command
    }

    fn save(&self, destination: &Path) -> Output {
        self.command(destination).output().expect("run dmabufio")
    }

    fn success(&self, destination: &Path) {
        let output = self.save(destination);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The message when it refuses the destination.
    fn refusal(&self, destination: &Path) -> String {
        let output = self.save(destination);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).expect("text");
        let name = format!("dmabufio: {}: ", destination.display());
        text.strip_prefix(&name).unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
    }

    fn is_saved(&self, path: &Path) -> bool {
        fs::read(path).expect("read") == fs::read(self.at("source")).expect("read")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("list");
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("list"))).collect();
        names.sort();
        names
    }
}

#[test]
fn symbolic_link_stays_and_its_file_is_replaced() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.at("links")).expect("mkdir");
    let real = fixture.old("real");
    let link = fixture.at("links/link");
    symlink("../real", &link).expect("symlink");
    fixture.success(&link);
    assert!(fs::symlink_metadata(&link).expect("stat").is_symlink());
    assert!(fixture.is_saved(&real));
    assert_eq!(fixture.names(), ["links", "real", "source"]);
}

#[test]
fn links_to_nothing_and_loops_are_refused() {
    let fixture = Fixture::new();
    let (dangling, endless) = (fixture.at("dangling"), fixture.at("endless"));
    symlink("absent", &dangling).expect("symlink");
    symlink("endless", &endless).expect("symlink");
    let why = "a symbolic link to a file that does not exist; name that file instead";
    assert_eq!(fixture.refusal(&dangling), why);
    let why = fixture.refusal(&endless);
    assert!(why.contains("os error 40"), "{why}");
    assert_eq!(fixture.names(), ["dangling", "endless", "source"]);
}

#[test]
fn destinations_that_are_no_regular_file_are_refused_by_their_type() {
    let fixture = Fixture::new();
    let (folder, pipe) = (fixture.at("folder"), fixture.at("pipe"));
    fs::create_dir(&folder).expect("mkdir");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("mkfifo");
    assert_eq!(fixture.refusal(&folder), "a directory, no regular file");
    assert_eq!(fixture.refusal(&pipe), "a pipe, no regular file");
    let null = Path::new("/dev/null");
    assert_eq!(fixture.refusal(null), "a character device, no regular file");
    assert_eq!(fixture.names(), ["folder", "pipe", "source"]);
}

#[test]
fn other_hard_links_keep_the_old_content() {
    let fixture = Fixture::new();
    let target = fixture.old("target");
    fs::hard_link(&target, fixture.at("other")).expect("link");
    fixture.success(&target);
    assert!(fixture.is_saved(&target));
    assert_eq!(fs::read(fixture.at("other")).expect("read"), OLD);
}

#[test]
fn set_user_id_and_set_group_id_are_not_kept() {
    let fixture = Fixture::new();
    let target = fixture.old("target");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o6751)).expect("chmod");
    fixture.success(&target);
    assert_eq!(fs::metadata(&target).expect("stat").mode() & 0o7777, 0o751);
}

#[test]
fn new_file_has_the_permissions_of_any_new_file() {
    let fixture = Fixture::new();
    let target = fixture.at("target");
    fixture.success(&target);
    let other = File::create(fixture.at("other")).expect("create");
    let mode = |metadata: fs::Metadata| metadata.mode() & 0o7777;
    let expected = mode(other.metadata().expect("stat"));
    assert_eq!(mode(fs::metadata(&target).expect("stat")), expected);
}

/// Waits until `child` has the file open that is to take the place of the destination in `dir`.
fn wait_for_the_new_file(child: &mut Child, dir: &Path) {
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let open = fs::read_dir(&fds).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        let is_new = |target: &PathBuf| {
            let file = target.file_name().map(|name| name.to_string_lossy().into_owned());
            target.parent() == Some(dir)
                && file.is_some_and(|name| name.starts_with('#') || name.starts_with(".dmabufio-"))
        };
        if targets.any(|target| is_new(&target)) {
            return;
        }
        assert!(child.try_wait().expect("wait").is_none(), "it ended too early");
        assert!(Instant::now() < deadline, "it makes no file");
        sleep(Duration::from_millis(1));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(pid, signal).expect("kill");
}

#[test]
fn signal_ends_the_command_and_leaves_the_old_file_only() {
    let fixture = Fixture::new();
    let target = fixture.old("target");
    // Long enough to be in the middle of it.
    File::options()
        .write(true)
        .open(fixture.at("source"))
        .expect("open")
        .set_len(256 << 20)
        .expect("grow");
    for number in [Signal::Hup, Signal::Int, Signal::Quit, Signal::Term, Signal::Kill] {
        let mut child = fixture.command(&target).stdout(Stdio::null()).spawn().expect("start");
        wait_for_the_new_file(&mut child, fixture.dir.path());
        signal(&child, number);
        let status = child.wait().expect("wait");
        assert_eq!(status.signal(), Some(number as i32), "{number:?}: {status}");
        assert_eq!(fs::read(&target).expect("read"), OLD, "{number:?}");
        assert_eq!(fixture.names(), ["source", "target"], "{number:?}");
    }
}

#[test]
fn signal_that_nohup_ignores_stays_ignored() {
    let fixture = Fixture::new();
    let target = fixture.old("target");
    File::options()
        .write(true)
        .open(fixture.at("source"))
        .expect("open")
        .set_len(64 << 20)
        .expect("grow");
    let save = fixture.command(&target);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh", DMABUFIO]).args(save.get_args());
    let mut child = nohup.stdout(Stdio::null()).spawn().expect("start");
    wait_for_the_new_file(&mut child, fixture.dir.path());
    signal(&child, Signal::Hup);
    assert!(child.wait().expect("wait").success());
    assert!(fixture.is_saved(&target));
}

#[test]
fn file_beyond_the_limit_for_files_is_an_error() {
    let fixture = Fixture::new();
    let target = fixture.old("target");
    let save = fixture.command(&target);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 8; exec \"$@\"", "sh", DMABUFIO]).args(save.get_args());
    let output = limited.output().expect("run dmabufio");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {error}", output.status);
    assert!(error.contains("os error 27"), "{error}");
    assert_eq!(fs::read(&target).expect("read"), OLD);
    assert_eq!(fixture.names(), ["source", "target"]);
}

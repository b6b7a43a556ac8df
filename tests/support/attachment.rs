//! A device that is attached to a buffer: `kernel/selftests/attach.c`, on kernels with its importer.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A folder that lives as long as the VM.
const RUN: &str = "/run/dmabufio";

/// Keeps a buffer attached to a device until dropped.
pub struct Attachment(Child);

impl Attachment {
    pub fn new(buffer: &OwnedFd) -> Self {
        let mut child = Command::new(program())
            .stdin(buffer.try_clone().expect("dup"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("run it");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("read its output");
        assert_eq!(line, "attached\n");
        Self(child)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program. The first test that needs it compiles it, for all that follow in this VM.
fn program() -> PathBuf {
    let program = Path::new(RUN).join("attach");
    if !program.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/selftests/attach.c");
        let dir = TempDir::new_in(RUN).expect("a folder");
        let unfinished = dir.path().join("attach");
        let cc = Command::new("cc").arg("-o").arg(&unfinished).arg(source).status();
        assert!(cc.is_ok_and(|status| status.success()), "compile {source}");
        fs::rename(unfinished, &program).expect("name the program");
    }
    program
}

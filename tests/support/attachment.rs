//! A device that is attached to a buffer: `kernel/selftests/attach.c`, on kernels with its importer.

use super::scratch;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Keeps a buffer attached to a device until dropped.
pub struct Attachment(Child);

impl Attachment {
    pub fn new(buffer: &OwnedFd) -> Self {
        static PROGRAM: OnceLock<TempDir> = OnceLock::new();
        let dir = PROGRAM.get_or_init(|| {
            let dir = scratch();
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/selftests/attach.c");
            let program = dir.path().join("attach");
            let cc = Command::new("cc").arg("-o").arg(program).arg(source).status();
            assert!(cc.is_ok_and(|status| status.success()), "compile {source}");
            dir
        });
        let mut child = Command::new(dir.path().join("attach"))
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

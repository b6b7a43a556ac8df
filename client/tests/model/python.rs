//! The tools of the formats' authors, which are written in Python.

use rustix::fs::{flock, FlockOperation};
use std::env;
use std::fs::{create_dir_all, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Under this number the tools are kept; another one for other versions.
const TOOLS: &str = "model-tools-1";
const PACKAGES: [&str; 3] = ["gguf==0.17.1", "numpy==2.4.6", "safetensors==0.8.0"];

/// The folder of the cache, as `docs/testing.md` describes it.
fn cache() -> PathBuf {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("DMABUFIO_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("dmabufio")))
        .or_else(|| Some(folder("HOME")?.join(".cache/dmabufio")))
        .expect("a home directory")
        .join("tools")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a script of this folder, in an environment that is made by the first test to need it.
pub fn script(name: &str, args: &[&Path]) -> String {
    let folder = cache();
    create_dir_all(&folder).expect("the cache");
    let environment = folder.join(TOOLS);
    let complete = environment.join("complete");
    // Every test is a process of its own.
    let lock = File::create(folder.join(format!("{TOOLS}.lock"))).expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    if !complete.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES));
        File::create(complete).expect("a mark");
    }
    drop(lock);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model").join(name);
    run(Command::new(environment.join("bin/python")).arg("-B").arg(script).args(args))
}

//! Compiles programs in C and C++ against the header and the library.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(missing_docs, reason = "test code")]

use std::env::current_exe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The compilers, with the strictest warnings.
pub const C: [&str; 6] = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
pub const CXX: [&str; 6] = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    output
}

/// Compiles `source`, a path in this package, into a program in `folder`.
pub fn compile(compiler: [&str; 6], source: &str, folder: &Path) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("program");
    // Cargo puts the library beside the tests.
    let test = current_exe().expect("the path of this program");
    let libraries = test.parent().expect("a folder");
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).env("TMPDIR", folder).arg("-I").arg(package.join("include"));
    command.arg(package.join(source)).arg("-o").arg(&program).arg("-L").arg(libraries);
    command.arg(format!("-Wl,-rpath,{}", libraries.display()));
    succeeded(command.args(["-ldmabufio_c", "-pthread"]));
    program
}

/// What a program prints. It has to succeed.
pub fn run(program: &Path, args: &[&str]) -> String {
    String::from_utf8(succeeded(Command::new(program).args(args)).stdout).expect("text")
}

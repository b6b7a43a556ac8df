//! `cargo xtask aosp`: its own program, so that the other commands need not compile it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use quick_junit::TestSuite;
use xtask::cache::RunDir;
use xtask::cargo;
use xtask::exec::Guarded;
use xtask::table::report;

/// Arguments of `cargo xtask aosp`, for that program.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the checks and returns the exit status.
pub fn run(args: &Args) -> Result<u8> {
    start(&args.args, None)
}

/// Runs all checks as tests.
pub fn test() -> Result<Vec<TestSuite>> {
    let dir = RunDir::new()?;
    let file = dir.path().join("junit.xml");
    let status = start(&[], Some(&file))?;
    report(&file, status == 0)
}

fn start(args: &[String], junit: Option<&Path>) -> Result<u8> {
    let mut command = cargo::command(&["run", "--quiet", "--package", "xtask_aosp", "--"]);
    command.args(args).stdin(Stdio::null());
    if let Some(file) = junit {
        command.arg("--junit").arg(file);
    }
    let status = Guarded::spawn(&mut command)?.wait(None)?.context("a program that never ends")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

//! The tools of the VM besides a kernel and Debian's packages: virtme-ng, the service manager, the
//! test runner.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use xtask::exec::{self, Step};
use xtask::{cache, packages};

const VIRTME: &str = "1.42";
const RSBINDER_TOOLS: &str = "0.12.0";
/// The version to build if PATH has no version that is as new.
const NEXTEST: [u32; 3] = [0, 9, 143];

/// The places of the tools.
#[derive(Debug)]
pub struct Tools {
    /// The program of virtme-ng that boots.
    pub virtme_run: PathBuf,
    /// The folder of `rsb_hub` and `rsb_service`.
    pub hub: PathBuf,
}

/// Installs missing tools.
pub fn ensure() -> Result<Tools> {
    packages::ensure().context("getting the VM's tools")?;
    Ok(Tools { virtme_run: virtme()?, hub: hub()? })
}

/// Installs virtme-ng and returns the program that boots.
pub fn virtme() -> Result<PathBuf> {
    let venv = cache::subdir("tools")?.join(format!("virtme-ng-{VIRTME}"));
    let program = venv.join("bin/virtme-run");
    if starts(&program) {
        return Ok(program);
    }
    let _lock = cache::lock("virtme-ng")?;
    if starts(&program) {
        return Ok(program);
    }
    // A virtual environment contains its own path, so it must be made in place. If its program
    // starts, it is complete.
    Step::new("making a Python environment for virtme-ng")
        .run(exec::command("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    Step::new(format!("installing virtme-ng {VIRTME}"))
        .hint("the Python package index must be reachable from this machine")
        .run(
            exec::command(venv.join("bin/pip"))
                .args(["install", "--quiet"])
                .arg(format!("virtme-ng=={VIRTME}")),
        )?;
    let (program_name, folder) = (program.display(), venv.display());
    ensure!(starts(&program), "{program_name} does not start; remove {folder} and try again");
    Ok(program)
}

fn starts(program: &Path) -> bool {
    Command::new(program).arg("--help").output().is_ok_and(|output| output.status.success())
}

/// Builds the service manager and returns the folder of its programs.
pub fn hub() -> Result<PathBuf> {
    install("the service manager", "rsbinder-tools", RSBINDER_TOOLS, &[])
}

/// The folder of cargo-nextest: the one on PATH if it is new enough, else one that is built here.
pub fn nextest() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let new_enough = |dir: &PathBuf| {
        let printed =
            Command::new(dir.join("cargo-nextest")).args(["nextest", "--version"]).output();
        printed.is_ok_and(|output| nextest_version(&output.stdout) >= Some(NEXTEST.to_vec()))
    };
    if let Some(dir) = env::split_paths(&path).find(new_enough) {
        return Ok(dir);
    }
    let version = NEXTEST.map(|number| number.to_string()).join(".");
    install("the test runner", "cargo-nextest", &version, &["--no-default-features"])
}

/// `cargo-nextest 0.9.143 (...)`
fn nextest_version(printed: &[u8]) -> Option<Vec<u32>> {
    let printed = String::from_utf8_lossy(printed);
    let version = printed.strip_prefix("cargo-nextest ")?.split_whitespace().next()?;
    version.split('.').map(|number| number.parse().ok()).collect()
}

/// Builds the programs of a crate and returns their folder.
fn install(what: &str, krate: &str, version: &str, options: &[&str]) -> Result<PathBuf> {
    let dest = cache::subdir("tools")?.join(format!("{krate}-{version}"));
    let dir = cache::publish(&dest, |stage| {
        let mut command = exec::command("cargo");
        command.args(["install", "--locked", "--version", version, "--root"]).arg(stage);
        // Its build shares nothing with that of the tree.
        command.args(options).arg(krate).env_remove("CARGO_TARGET_DIR");
        Step::new(format!("building {what} ({krate} {version})"))
            .hint("the crate registry must be reachable from this machine")
            .progress(|line| line.trim().strip_prefix("Compiling ").map(str::to_owned))
            .run(&mut command)
    })?;
    Ok(dir.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_nextest_prints() {
        let read = |text: &str| nextest_version(text.as_bytes());
        assert_eq!(read("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\n"), Some(vec![0, 9, 143]));
        assert!(read("cargo-nextest 0.10.1\n") > Some(NEXTEST.to_vec()));
        assert!(read("cargo-nextest 0.9.95\n") < Some(NEXTEST.to_vec()));
        assert_eq!(read(""), None);
    }
}

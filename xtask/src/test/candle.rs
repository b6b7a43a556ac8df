//! The example that computes with candle: on this host in memfds, and in the VM in dma-bufs that the service has filled.

use std::path::PathBuf;

use anyhow::{ensure, Result};
use xtask::cache::RunDir;
use xtask::{cargo, exec, tree};

use crate::vm::{self, Options};

/// Its program, and that in the VM.
const PROGRAM: &str = "dmabufio_candle";

/// Builds it, and returns the folder of the program. The build has a folder of its own, because no other build shares its
/// crates.
fn build() -> Result<PathBuf> {
    let target = tree::root().join("target/candle");
    cargo::step("building the example that computes with candle").run(
        cargo::command(&["build", "--locked", "--manifest-path=client/examples/candle/Cargo.toml"])
            .arg("--target-dir")
            .arg(&target),
    )?;
    Ok(target.join("debug"))
}

/// Runs it here.
pub fn host() -> Result<()> {
    let folder = RunDir::new()?;
    let program = build()?.join(PROGRAM);
    exec::Step::new("running the example that computes with candle")
        .run(exec::command(program).arg(folder.path()))
}

/// Runs it in the VM.
pub fn guest(options: &Options) -> Result<()> {
    let programs = [cargo::release()?, build()?];
    let job = format!("{PROGRAM} --service \"$DMABUFIO_TEST_DIR\"");
    let outcome = vm::boot(options, &programs, &job)?;
    let sound = vm::report(&outcome);
    ensure!(outcome.status == 0 && sound, "the example failed in the VM; see above");
    Ok(())
}

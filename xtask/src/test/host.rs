//! The host layer: checks and tests that need neither the VM nor root.

use std::fs;

use anyhow::Result;
use quick_junit::TestSuite;
use xtask::cache::RunDir;
use xtask::table::{report, Table};
use xtask::{cargo, exec, tree};

use crate::vm::tools;
use crate::{demo, fuzz, presubmit};

/// The path of nextest's report in `.config/nextest.toml`.
const REPORT: &str = "target/nextest/default/junit.xml";

/// Runs it.
pub fn run(table: &mut Table) {
    for check in presubmit::CHECKS {
        table.check("host", check.name, || (check.run)(presubmit::Repair::No));
    }
    table.run("host", "cargo nextest", nextest);
    table.check("host", "examples in the documentation", || {
        cargo::step("running the examples in the documentation").run(&mut cargo::command(&[
            "test",
            "--doc",
            "--workspace",
        ]))
    });
    table.check("host", "fuzz targets of the parsers", fuzz::short);
    table.check("host", "a model from buffers in candle", candle);
    table.check("host", "demo with the embedded heap", demo::embedded);
}

/// Runs the example that computes with candle. Its build has a folder of its own, because no other
/// build shares its crates.
fn candle() -> Result<()> {
    let folder = RunDir::new()?;
    let target = tree::root().join("target/candle");
    cargo::step("running the example that computes with candle").run(
        cargo::command(&["run", "--locked", "--manifest-path=client/examples/candle/Cargo.toml"])
            .arg("--target-dir")
            .arg(target)
            .arg("--")
            .arg(folder.path()),
    )
}

fn nextest() -> Result<Vec<TestSuite>> {
    let path = tree::root().join(REPORT);
    let _ = fs::remove_file(&path);
    let mut command = cargo::command(&["nextest", "run", "--workspace", "--no-fail-fast"]);
    command.env("PATH", exec::path_with(&[tools::nextest()?]));
    let ran = cargo::step("running the tests of the workspace on this host").run(&mut command);
    if let Err(error) = &ran {
        eprintln!("error: {error:#}");
    }
    report(&path, ran.is_ok())
}

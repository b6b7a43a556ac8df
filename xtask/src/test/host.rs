//! The host layer: what needs neither the VM nor root.

use anyhow::Result;

use super::count::{cases, Case};
use super::Table;
use crate::exec::Step;
use crate::{cargo, demo, presubmit};

/// Runs it.
pub fn run(table: &mut Table) {
    for check in presubmit::CHECKS {
        table.check("host", check.name, || (check.run)(presubmit::Repair::No));
    }
    table.row("host", "cargo test", cargo_test);
    table.check("host", "demo with the embedded heap", demo::embedded);
}

fn cargo_test() -> Result<Vec<Case>> {
    let ended = Step::new("running the tests of the workspace on this host")
        .progress(|line| line.trim().strip_prefix("Running ").map(str::to_owned))
        .attempt(&mut cargo::command(&["test", "--workspace", "--no-fail-fast"]))?;
    if !ended.status.success() {
        println!("{}", ended.output);
    }
    Ok(cases(&ended.output, ended.status.success()))
}

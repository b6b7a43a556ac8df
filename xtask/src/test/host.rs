//! The host layer: what needs neither the VM nor root.

use anyhow::Result;

use super::count::{count, Tally};
use super::Table;
use crate::exec::Step;
use crate::{cargo, demo, presubmit};

/// Runs it.
pub fn run(table: &mut Table) {
    for check in presubmit::CHECKS {
        table.row("host", check.name, || {
            (check.run)(presubmit::Repair::No).map(|()| Tally::one(true))
        });
    }
    table.row("host", "cargo test", cargo_test);
    table
        .row("host", "demo with the embedded heap", || demo::embedded().map(|()| Tally::one(true)));
}

fn cargo_test() -> Result<Tally> {
    let ended = Step::new("running the tests of the workspace on this host")
        .progress(|line| line.trim().strip_prefix("Running ").map(str::to_owned))
        .attempt(&mut cargo::command(&["test", "--workspace", "--no-fail-fast"]))?;
    if !ended.status.success() {
        println!("{}", ended.output);
    }
    Ok(count(&ended.output, ended.status.success()))
}

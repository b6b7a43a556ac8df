//! `cargo xtask setup`: gets the things in advance that the other commands would get on first use.

use std::time::Instant;

use anyhow::Result;
use xtask::{cargo, exec, packages};

use crate::kernel::{self, Base, Flavour};
use crate::vm::tools;

/// One step, with its name.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("Debian packages", packages::ensure),
    ("virtme-ng", || tools::virtme().map(drop)),
    ("the service manager rsb_hub", || tools::hub().map(drop)),
    ("the test runner nextest", || tools::nextest().map(drop)),
    ("the patched kernel", || kernel::ensure(Base::default(), Flavour::Patched).map(drop)),
    ("the stock kernel", || kernel::ensure(Base::default(), Flavour::Stock).map(drop)),
    ("the service and the command", || cargo::release().map(drop)),
];

/// Does all steps.
pub fn run() -> Result<()> {
    let start = Instant::now();
    for (done, (name, step)) in STEPS.iter().enumerate() {
        eprintln!("[{}/{}] {name}", done + 1, STEPS.len());
        step()?;
    }
    eprintln!("ready after {}; next: cargo xtask run", exec::elapsed(start.elapsed()));
    Ok(())
}

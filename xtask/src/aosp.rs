//! `cargo xtask aosp`: the checks that only Android's own tools can make.

use anyhow::{bail, Result};

/// Arguments of `cargo xtask aosp`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

/// Runs the checks.
pub fn run(_args: Args) -> Result<()> {
    bail!("there are no Android checks yet")
}

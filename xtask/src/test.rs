//! `cargo xtask test`: every layer of tests, one table and one closing line.
//!
//! A layer that cannot run is a failure, never a skip: nobody reads the skips of a green run.

use std::io;
use std::path::PathBuf;

use anyhow::Result;
use xtask::table::conclude;

use crate::aosp;
use crate::kernel::Base;

mod guest;
mod host;
mod ktap;

/// Arguments of `cargo xtask test`; all layers unless some are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format, lints, documentation, architecture rules, unit and integration tests on this host
    #[arg(long)]
    host: bool,
    /// The same methods and the whole service in the VM, on both kernels, both buses and both file systems
    #[arg(long)]
    vm: bool,
    /// The checks that need Android's own tools
    #[arg(long)]
    aosp: bool,
    /// Only what the kernel decides, in the VM, on kernels made from that series
    #[arg(long, conflicts_with_all = ["host", "vm", "aosp"])]
    base: Option<Base>,
    /// Write the results to this file as JUnit XML too, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Runs the layers and returns the exit status.
pub fn run(args: &Args) -> Result<u8> {
    let all = !(args.host || args.vm || args.aosp);
    conclude(args.junit.as_deref(), &mut io::stdout(), |table| {
        if let Some(base) = args.base {
            return guest::run(table, base);
        }
        if all || args.host {
            host::run(table);
        }
        if all || args.vm {
            guest::run(table, Base::default());
        }
        if all || args.aosp {
            table.run("aosp", "Android's own tools", aosp::test);
        }
    })
}

//! `cargo xtask aosp`: the checks that only Android's own tools can make, on a machine without an Android tree.
//!
//! The checks are independent: all run even if one fails, and the last line counts the failures.
//! The cache keeps the tools of the checks (AOSP's AIDL compiler, a Rust toolchain with the Android
//! target, AOSP's binder crate), and the tree stays free of them.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xtask::exec;
use xtask::table::conclude;

mod aidl;
mod blueprint;
mod freeze;
mod package;
mod platform;
mod policy;
mod sandbox;
mod types;

#[derive(Parser)]
#[command(name = "cargo xtask aosp", bin_name = "cargo xtask aosp", about)]
struct Args {
    /// Run only these checks
    #[arg(value_enum)]
    checks: Vec<Check>,
    /// Write the files that the checks api and package compare
    #[arg(long)]
    update: bool,
    /// Freeze the interface as it stands: write the next version and its hash to aidl/aidl_api
    #[arg(long)]
    freeze: bool,
    /// Write the results to this file as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The AIDL files compile with every warning an error, for every back end
    Aidl,
    /// The AIDL files and their dump in aidl/aidl_api are the same
    Api,
    /// Frozen versions are unchanged, and the interface as it stands could be the next one
    Freeze,
    /// The Rust code type-checks against libbinder_rs, for this host
    Types,
    /// The same as a vendor module, which has fewer binder functions
    TypesVendor,
    /// The same for a phone
    TypesAndroid,
    /// The SELinux policy compiles and keeps the platform's neverallow rules
    Policy,
    /// Android.bp, VINTF, init, SELinux and APEX files match Cargo's manifests and one set of facts
    Package,
}

impl Check {
    fn run(self, args: &Args) -> Result<()> {
        match self {
            Check::Aidl => aidl::compile(),
            Check::Api if args.update => aidl::update_api(),
            Check::Api => aidl::compare_api(),
            Check::Freeze => freeze::run(args.freeze),
            Check::Types => types::host(types::Flavour::Plain),
            Check::TypesVendor => types::host(types::Flavour::Vendor),
            Check::TypesAndroid => types::android(),
            Check::Policy => policy::check(),
            Check::Package => package::check(args.update),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn main() -> ExitCode {
    match exec::handle_interrupts().and_then(|()| run(&Args::parse())) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the checks and returns the exit status.
fn run(args: &Args) -> Result<u8> {
    let checks = match args.checks.as_slice() {
        [] => Check::value_variants(),
        chosen => chosen,
    };
    conclude(args.junit.as_deref(), &mut io::stdout(), |table| {
        for check in checks {
            table.check("Android", &check.name(), || check.run(args));
        }
    })
}

//! `cargo xtask aosp`: the checks that only Android's own tools can make, on a machine without an Android tree.
//!
//! Every check stands alone: a failure does not keep the others from running, and the last line counts them. What the
//! checks need (AOSP's AIDL compiler, a Rust toolchain that knows the Android target, AOSP's binder crate) is kept in the
//! cache; nothing of it enters the tree.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{bail, Result};
use clap::ValueEnum;

use crate::{exec, tree};

mod aidl;
mod blueprint;
mod freeze;
mod package;
mod platform;
pub mod policy;
mod sandbox;
mod soong;
mod types;

/// Arguments of `cargo xtask aosp`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Run only these checks
    #[arg(value_enum)]
    checks: Vec<Check>,
    /// Write the dump of the current AIDL files to aidl/aidl_api instead of comparing with it
    #[arg(long)]
    update_api: bool,
    /// Freeze the interface as it stands: write the next version and its hash to aidl/aidl_api
    #[arg(long)]
    freeze: bool,
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The AIDL files compile with every warning an error, for every back end
    Aidl,
    /// The AIDL files say what aidl/aidl_api says
    Api,
    /// Frozen versions are unchanged, and the interface as it stands could be the next one
    Freeze,
    /// The Rust code type-checks against libbinder_rs, for this host
    Types,
    /// The same as a vendor module, which has fewer binder functions
    TypesVendor,
    /// The same for a phone
    TypesAndroid,
    /// Android.bp files are formatted, and agree with the tree and with Cargo.toml
    Blueprint,
    /// The SELinux policy compiles and keeps the platform's neverallow rules
    Policy,
    /// VINTF, init and SELinux files name the same interface, service and program
    Package,
}

impl Check {
    fn run(self, args: &Args) -> Result<()> {
        match self {
            Check::Aidl => aidl::compile(),
            Check::Api if args.update_api => aidl::update_api(),
            Check::Api => aidl::compare_api(),
            Check::Freeze => freeze::run(args.freeze),
            Check::Types => types::host(types::Flavour::Plain),
            Check::TypesVendor => types::host(types::Flavour::Vendor),
            Check::TypesAndroid => types::android(),
            Check::Blueprint => soong::check(),
            Check::Policy => policy::check(),
            Check::Package => package::check(),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs the checks.
pub fn run(args: Args) -> Result<()> {
    let checks = match args.checks.as_slice() {
        [] => Check::value_variants(),
        chosen => chosen,
    };
    let mut failed = Vec::new();
    for check in checks {
        let start = Instant::now();
        let result = check.run(&args);
        if let Some(signal) = exec::interrupted() {
            bail!("interrupted by signal {signal}");
        }
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:6} {:13} {}", check.name(), exec::elapsed(start.elapsed()));
        if let Err(error) = result {
            println!("{}", indent(&format!("{error:#}")));
            failed.push(check.name());
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        names => {
            bail!("{} of {} Android checks failed: {}", names.len(), checks.len(), names.join(", "))
        }
    }
}

/// A file or folder of the tree.
fn in_tree(path: &str) -> PathBuf {
    tree::root().join(path)
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("       {line}")).collect::<Vec<_>>().join("\n")
}

//! `cargo xtask aosp`: the checks that only Android's own tools can make, on a machine without an Android tree.
//!
//! The checks are independent: all run even if one fails, and the last line counts the failures.
//! The cache keeps the tools of the checks (AOSP's AIDL compiler, a Rust toolchain with the Android
//! target, AOSP's binder crate), and the tree stays free of them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use clap::{Parser, ValueEnum};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use xtask::exec;

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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the checks.
fn run(args: &Args) -> Result<()> {
    let checks = match args.checks.as_slice() {
        [] => Check::value_variants(),
        chosen => chosen,
    };
    let mut suite = TestSuite::new("checks");
    for check in checks {
        let start = Instant::now();
        let result = check.run(args);
        if let Some(signal) = exec::interrupted() {
            bail!("interrupted by signal {signal}");
        }
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:6} {:13} {}", check.name(), exec::elapsed(start.elapsed()));
        let mut status = TestCaseStatus::success();
        if let Err(error) = result {
            let text = format!("{error:#}");
            println!("       {}", text.replace('\n', "\n       "));
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(text.lines().next().unwrap_or_default()).set_description(&*text);
        }
        let mut case = TestCase::new(check.name(), status);
        case.set_time(start.elapsed());
        suite.add_test_case(case);
    }
    let failed = suite.failures;
    if let Some(path) = &args.junit {
        let mut report = Report::new("aosp");
        report.add_test_suite(suite);
        fs::write(path, report.to_string()?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if failed > 0 {
        bail!("{failed} of {} Android checks failed", checks.len());
    }
    Ok(())
}

//! `cargo xtask presubmit`: the checks before a change is sent. CI runs the same table.

use anyhow::{bail, Result};
use xtask::cargo;
use xtask::exec::{self, Step};
use xtask::failure::Reported;

mod links;
mod modules;
mod names;
mod words;

/// Arguments of `cargo xtask presubmit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repair the format
    #[arg(long)]
    fix: bool,
}

/// Whether a check may change files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Yes
    Yes,
    /// No
    No,
}

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Its name in tables and messages.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(Repair) -> Result<()>,
}

/// All checks, cheap ones first.
pub const CHECKS: &[Check] = &[
    Check { name: "format", run: format },
    Check {
        name: "architecture",
        run: |_| {
            found(
                "a rule of ARCHITECTURE.md is broken",
                [modules::check()?, names::check()?].concat(),
            )
        },
    },
    Check { name: "links", run: |_| found("documents name what does not exist", links::check()?) },
    Check { name: "words", run: |_| found("files name what must not be named", words::check()?) },
    Check { name: "clippy", run: clippy },
    Check { name: "documentation", run: documentation },
];

/// Runs all checks, also after one failed.
pub fn run(args: &Args) -> Result<u8> {
    let repair = if args.fix { Repair::Yes } else { Repair::No };
    let mut failed = Vec::new();
    for check in CHECKS {
        if let Err(error) = (check.run)(repair) {
            if exec::interrupted().is_some() {
                return Err(error);
            }
            if error.downcast_ref::<Reported>().is_none() {
                eprintln!("error: {}: {error:#}", check.name);
            }
            failed.push(check.name);
        }
    }
    for long in words::long_files()? {
        eprintln!("warning: {long}");
    }
    if !failed.is_empty() {
        eprintln!("\nfailed: {}", failed.join(", "));
        return Ok(1);
    }
    println!("presubmit: {} checks passed", CHECKS.len());
    Ok(0)
}

fn found(what: &str, problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{what}:\n    {}", problems.join("\n    "))
}

fn format(repair: Repair) -> Result<()> {
    for workspace in ["Cargo.toml", "fuzz/parsers/Cargo.toml", "client/examples/candle/Cargo.toml"]
    {
        let mut command = cargo::command(&["fmt", "--all", "--manifest-path", workspace]);
        if repair == Repair::No {
            command.args(["--", "--check"]);
        }
        Step::new(format!("checking the format of {workspace}"))
            .hint("cargo xtask presubmit --fix")
            .run(&mut command)?;
    }
    Ok(())
}

fn clippy(_: Repair) -> Result<()> {
    Step::new("checking with clippy")
        .hint(
            "the messages name the lint; `cargo clippy --workspace --all-targets` shows them again",
        )
        .run(&mut cargo::command(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
}

fn documentation(_: Repair) -> Result<()> {
    let mut command =
        cargo::command(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // The readers of these pages work on the tree, so links to private items are fine.
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    Step::new("building the documentation").run(&mut command)
}

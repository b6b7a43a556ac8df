//! `cargo xtask fuzz`: runs the libFuzzer targets of fuzz/parsers, and random transactions at the
//! service.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::cache::RunDir;
use xtask::exec::{self, Step};
use xtask::{cargo, tree};

/// The targets of libFuzzer, each with a corpus of its name.
const PARSERS: [&str; 3] = ["safetensors", "gguf", "snapshot"];

/// The target that is a test program: `cargo test` runs a short form of it.
const TRANSACTIONS: &str = "transactions";

/// The time for each parser in `cargo xtask test`, in seconds.
const SHORT: u32 = 20;

/// What libFuzzer needs from the compiler: counters of edges, and the operands of comparisons.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The targets; all, one after the other, unless some are named
    #[arg(value_parser = [PARSERS[0], PARSERS[1], PARSERS[2], TRANSACTIONS])]
    targets: Vec<String>,
    /// The time for each target, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Runs the targets.
pub fn run(args: &Args) -> Result<()> {
    let wanted = |target: &str| args.targets.is_empty() || args.targets.iter().any(|t| t == target);
    let parsers: Vec<&str> = PARSERS.into_iter().filter(|parser| wanted(parser)).collect();
    if !parsers.is_empty() {
        fuzz(&parsers, args.seconds)?;
    }
    if wanted(TRANSACTIONS) {
        transactions(args.seconds)?;
    }
    Ok(())
}

/// Runs the targets of the parsers for a short time.
pub fn short() -> Result<()> {
    fuzz(&PARSERS, SHORT)
}

/// Makes random transactions at the service over a socket.
fn transactions(seconds: u32) -> Result<()> {
    let mut test = exec::command(cargo::test(TRANSACTIONS)?);
    test.arg("--nocapture").env("DMABUFIO_FUZZ_SECONDS", seconds.to_string());
    let output = Step::new(format!("making random transactions for {seconds} s"))
        .hint("the message names the seed and the number of the transaction")
        .capture(&mut test)?;
    let told = output.lines().rev().find(|line| line.starts_with("seed "));
    exec::say(&format!("transactions: {}", told.context("the test has not said what it did")?));
    Ok(())
}

fn fuzz(targets: &[&str], seconds: u32) -> Result<()> {
    let host = host()?;
    let built = tree::root().join("target/fuzz");
    // The flags are not for build scripts: cargo uses them for all unless there is a target.
    cargo::step("building the fuzz targets").run(
        cargo::command(&["build", "--release", "--locked", "--target", &host, "--target-dir"])
            .arg(&built)
            .arg("--manifest-path=fuzz/parsers/Cargo.toml")
            .env("RUSTFLAGS", INSTRUMENTATION),
    )?;
    let found = built.join("found");
    fs::create_dir_all(&found).with_context(|| format!("creating {}", found.display()))?;
    for target in targets {
        let grown = RunDir::new()?;
        let mut fuzz = exec::command(built.join(&host).join("release").join(target));
        fuzz.arg(format!("-max_total_time={seconds}"))
            .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"])
            .arg(format!("-artifact_prefix={}/{target}-", found.display()))
            .arg(grown.path())
            .arg(tree::root().join("fuzz/parsers/corpus").join(target));
        let output = Step::new(format!("fuzzing the parser of {target} for {seconds} s"))
            .hint(format!("the input is in {}; run the target with it alone", found.display()))
            .progress(|line| line.contains(" cov: ").then(|| line.trim().to_owned()))
            .capture(&mut fuzz)?;
        let done = output.lines().rev().find(|line| line.contains("DONE"));
        exec::say(&format!(
            "{target}: {}",
            done.context("libFuzzer has not said how far it came")?
        ));
    }
    Ok(())
}

/// The triple of this host.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("starting rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned).context("`rustc -vV` names no host")
}

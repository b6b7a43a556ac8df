//! `cargo xtask fuzz`: runs the libFuzzer targets of fuzz/parsers on this host, and the fuzzers of the
//! service in the VM.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use xtask::cache::RunDir;
use xtask::exec::{self, Step};
use xtask::{cargo, tree};

use crate::soak;

/// All targets: first the parsers, each with a corpus of its name.
const TARGETS: [&str; 5] = ["safetensors", "gguf", "snapshot", "requests", "transactions"];
const PARSERS: usize = 3;

/// The programs of tests that fuzz the service, by their targets.
const IN_VM: [(&str, &str); 2] = [("requests", "vm_fuzz"), ("transactions", "vm_transactions")];

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
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// The time for each target, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Runs the targets.
pub fn run(args: &Args) -> Result<()> {
    let wanted = |target: &str| args.targets.is_empty() || args.targets.iter().any(|t| t == target);
    let parsers: Vec<&str> = TARGETS[..PARSERS].iter().copied().filter(|t| wanted(t)).collect();
    if !parsers.is_empty() {
        fuzz(&parsers, args.seconds)?;
    }
    IN_VM.iter().filter(|(target, _)| wanted(target)).try_for_each(|(target, test)| {
        exec::say(&format!("fuzzing the service with random {target} for {} s", args.seconds));
        let status =
            soak::in_vm(test, args.seconds, &format!("DMABUFIO_FUZZ_SECONDS={}", args.seconds))?;
        ensure!(status == 0, "{target}: the test {test} failed in the VM");
        Ok(())
    })
}

/// Runs the targets of the parsers for a short time.
pub fn short() -> Result<()> {
    fuzz(&TARGETS[..PARSERS], SHORT)
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

//! `cargo xtask test`: every layer of tests, one table and one closing line.
//!
//! A layer that cannot run is a failure, never a skip: nobody reads the skips of a green run.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Error, Result};
use clap::{Arg, CommandFactory, Parser};

use crate::failure::{Unavailable, UNAVAILABLE};
use crate::{aosp, exec};

pub mod count;
mod guest;
mod host;
mod junit;

use count::{Case, Tally};

/// Arguments of `cargo xtask test`; all layers unless some are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format, lints, documentation, architecture rules, unit and integration tests on this host
    #[arg(long)]
    host: bool,
    /// The same methods and the whole service in the VM, on both kernels, both buses and both file systems
    #[arg(long)]
    vm: bool,
    /// What only Android's own tools can judge
    #[arg(long)]
    aosp: bool,
    /// Write the results to this file as JUnit XML too, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    layer: &'static str,
    what: String,
    cases: Vec<Case>,
    time: Duration,
    /// What it ran on: name and value.
    properties: Vec<(&'static str, String)>,
}

impl Row {
    fn tally(&self) -> Tally {
        Tally::of(&self.cases)
    }
}

/// Collects the lines of the table.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    /// How many of the failures are of the kind that nothing was found wrong, but something could not be had.
    unavailable: usize,
}

impl Table {
    /// Runs a check and adds its line. An error is printed and counts as a failed test.
    pub fn check(
        &mut self,
        layer: &'static str,
        what: impl Into<String>,
        work: impl FnOnce() -> Result<()>,
    ) {
        let what = what.into();
        self.row(layer, what.clone(), || work().map(|()| vec![Case::passed(what)]));
    }

    /// As [`Table::check`], for what consists of many tests.
    pub fn row(
        &mut self,
        layer: &'static str,
        what: impl Into<String>,
        work: impl FnOnce() -> Result<Vec<Case>>,
    ) {
        let what = what.into();
        if exec::interrupted().is_some() {
            return;
        }
        let start = Instant::now();
        let cases = work().unwrap_or_else(|error| {
            self.note(layer, &what, &error);
            vec![Case::failed(&what, format!("{error:#}"))]
        });
        self.add(layer, what, cases, start.elapsed());
    }

    /// Adds a line for what a shared piece of work found.
    pub fn add(
        &mut self,
        layer: &'static str,
        what: impl Into<String>,
        cases: Vec<Case>,
        time: Duration,
    ) {
        self.rows.push(Row { layer, what: what.into(), cases, time, properties: Vec::new() });
    }

    /// Prints an error and remembers what it means for the exit status.
    fn note(&mut self, layer: &str, what: &str, error: &Error) {
        eprintln!("error: {layer}: {what}: {error:#}");
        self.unavailable += usize::from(error.downcast_ref::<Unavailable>().is_some());
    }

    fn total(&self) -> Tally {
        self.rows.iter().map(Row::tally).sum()
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        writeln!(
            out,
            "\n{:<6} {:<width$} {:>7} {:>7} {:>8} {:>14}",
            "layer", "what", "passed", "failed", "skipped", "time"
        )?;
        for row in &self.rows {
            let Row { layer, what, time, .. } = row;
            let Tally { passed, failed, skipped } = row.tally();
            writeln!(
                out,
                "{layer:<6} {what:<width$} {passed:>7} {failed:>7} {skipped:>8} {:>14}",
                exec::elapsed(*time)
            )?;
        }
        let total = self.total();
        if total.skipped > 0 {
            writeln!(out, "\n{} tests were skipped: see their output above", total.skipped)?;
        }
        // CI reads this line, alone and last.
        writeln!(out, "\n{} passed, {} failed", total.passed, total.failed)
    }
}

/// The arguments of `cargo xtask aosp`, to be made from words.
#[derive(Parser)]
struct Android {
    #[command(flatten)]
    args: aosp::Args,
}

/// The checks that `cargo xtask aosp` takes as arguments.
fn android_checks() -> Vec<String> {
    let command = Android::command();
    let values = command.get_positionals().flat_map(Arg::get_possible_values);
    values.map(|value| value.get_name().to_owned()).collect()
}

/// Runs the layers and returns the exit status.
pub fn run(args: &Args) -> Result<u8> {
    let all = !(args.host || args.vm || args.aosp);
    conclude(args.junit.as_deref(), &mut io::stdout(), |table| {
        if all || args.host {
            host::run(table);
        }
        if all || args.vm {
            guest::run(table);
        }
        if all || args.aosp {
            for check in android_checks() {
                table.check("aosp", check.clone(), || {
                    aosp::run(Android::try_parse_from(["aosp", &check])?.args).map(drop)
                });
            }
        }
    })
}

/// Has `layers` fill the table, writes it to `out` and the report to `junit`, and returns the exit status.
fn conclude(
    junit: Option<&Path>,
    out: &mut impl Write,
    layers: impl FnOnce(&mut Table),
) -> Result<u8> {
    // First, as the tests take long and their results would have nowhere to go.
    let report = junit.map(junit::Target::create).transpose()?;
    let mut table = Table::default();
    layers(&mut table);
    if let Some(signal) = exec::interrupted() {
        bail!("interrupted by signal {signal}");
    }
    table.print(out).context("writing the table")?;
    if let Some(report) = report {
        report.write(&table.rows)?;
    }
    let total = table.total();
    Ok(match total.failed {
        0 if total.passed > 0 => 0,
        failed if failed > 0 && failed == table.unavailable => UNAVAILABLE,
        _ => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_that_cannot_be_created_fails_before_the_tests() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("missing/report.xml");
        let mut ran = false;
        let error = conclude(Some(&path), &mut Vec::new(), |_| ran = true).unwrap_err();
        assert_eq!(error.to_string(), format!("creating {}", path.display()));
        assert!(!ran);
        Ok(())
    }

    #[test]
    fn report_that_cannot_be_written_leaves_the_table() -> Result<()> {
        let mut out = Vec::new();
        let error = conclude(Some(Path::new("/dev/full")), &mut out, |table| {
            table.check("host", "a", || Ok(()));
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "writing /dev/full");
        assert!(String::from_utf8(out)?.ends_with("\n1 passed, 0 failed\n"));
        Ok(())
    }
}

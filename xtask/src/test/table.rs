//! The results: a JUnit report, like that of cargo-nextest, which is also printed as a table.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use xtask::failure::Unavailable;
use xtask::{exec, tree};

/// The lines of the table, a suite for each.
#[derive(Debug, Default)]
pub struct Table {
    suites: Vec<TestSuite>,
    /// The number of failures because something was not available.
    pub unavailable: usize,
}

impl Table {
    /// Runs a check and adds its line. An error is printed and counts as a failed test.
    pub fn check(&mut self, layer: &str, what: &str, work: impl FnOnce() -> Result<()>) {
        self.run(layer, what, || work().map(|()| vec![suite(what, None)]));
    }

    /// As [`Table::check`], for work with many tests. Names the suites after `layer`.
    pub fn run(&mut self, layer: &str, what: &str, work: impl FnOnce() -> Result<Vec<TestSuite>>) {
        if exec::interrupted().is_some() {
            return;
        }
        let start = Instant::now();
        let suites = work().unwrap_or_else(|error| {
            eprintln!("error: {layer}: {what}: {error:#}");
            self.unavailable += usize::from(error.downcast_ref::<Unavailable>().is_some());
            vec![suite(what, Some(format!("{error:#}")))]
        });
        for mut suite in suites {
            suite.name = format!("{layer}: {}", suite.name.as_str()).into();
            let times = suite.test_cases.iter().filter_map(|case| case.time);
            suite.set_time(times.reduce(|a, b| a + b).unwrap_or_else(|| start.elapsed()));
            self.suites.push(suite);
        }
    }

    /// The numbers of passed, failed and skipped tests.
    pub fn total(&self) -> [usize; 3] {
        self.suites.iter().map(counts).fold([0; 3], |sum, one| [0, 1, 2].map(|i| sum[i] + one[i]))
    }

    /// Prints a line for each suite, and the closing line.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.suites.iter().map(|suite| suite.name.as_str().len()).max().unwrap_or(0);
        writeln!(
            out,
            "\n{:<width$} {:>7} {:>7} {:>8} {:>14}",
            "", "passed", "failed", "skipped", "time"
        )?;
        for suite in &self.suites {
            let [passed, failed, skipped] = counts(suite);
            let time = exec::elapsed(suite.time.unwrap_or_default());
            let name = suite.name.as_str();
            writeln!(out, "{name:<width$} {passed:>7} {failed:>7} {skipped:>8} {time:>14}")?;
        }
        let [passed, failed, skipped] = self.total();
        if skipped > 0 {
            writeln!(out, "\n{skipped} tests were skipped: see their output above")?;
        }
        // CI reads this line, alone and last.
        writeln!(out, "\n{passed} passed, {failed} failed")
    }

    /// Writes the report.
    pub fn write(self, mut file: File) -> Result<()> {
        // A tree need not come from git.
        let commit = tree::commit(40).ok();
        let mut report = Report::new("dmabufio");
        report.set_time(self.suites.iter().filter_map(|suite| suite.time).sum::<Duration>());
        for mut suite in self.suites {
            suite.add_properties(commit.iter().map(|commit| ("commit", commit.as_str())));
            report.add_test_suite(suite);
        }
        Ok(file.write_all(report.to_string()?.as_bytes())?)
    }
}

/// A suite of one test that passed, or failed with `error`.
pub fn suite(what: &str, error: Option<String>) -> TestSuite {
    let mut suite = TestSuite::new(what);
    suite.add_test_case(case(what, error));
    suite
}

/// A test that passed, or failed with `error`.
pub fn case(what: &str, error: Option<String>) -> TestCase {
    let status = error.map_or_else(TestCaseStatus::success, |error| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(error.lines().find(|line| !line.is_empty()).unwrap_or_default());
        status.set_description(error);
        status
    });
    TestCase::new(what, status)
}

/// The numbers of passed, failed and skipped tests.
pub fn counts(suite: &TestSuite) -> [usize; 3] {
    let failed = suite.failures + suite.errors;
    [suite.tests - failed - suite.skipped, failed, suite.skipped]
}

/// The report that a program left. One without a report ended before its tests did.
pub fn report(path: &Path, succeeded: bool) -> Result<Vec<TestSuite>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("there is no report {}", path.display()))?;
    let report = Report::deserialize_from_str(&text).context("reading the report of the tests")?;
    ensure!(report.tests > 0, "no test ran");
    ensure!(
        succeeded || report.failures + report.errors > 0,
        "the tests passed, but the program that runs them failed"
    );
    Ok(report.test_suites)
}

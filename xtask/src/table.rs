//! The results: a JUnit report, like that of cargo-nextest, which is also printed as a table.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::failure::{Unavailable, UNAVAILABLE};
use crate::{exec, tree};

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
        let mut suites = work().unwrap_or_else(|error| {
            eprintln!("error: {layer}: {what}: {error:#}");
            self.unavailable += usize::from(error.downcast_ref::<Unavailable>().is_some());
            vec![suite(what, Some(format!("{error:#}")))]
        });
        if let [TestSuite { test_cases, .. }] = suites.as_mut_slice() {
            if let [only] = test_cases.as_mut_slice() {
                only.time.get_or_insert(start.elapsed());
            }
        }
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

/// Calls `layers` to fill the table, writes it to `out` and the report to `junit`, and returns the
/// exit status.
pub fn conclude(
    junit: Option<&Path>,
    out: &mut impl Write,
    layers: impl FnOnce(&mut Table),
) -> Result<u8> {
    let created =
        |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
    // Before the tests, and empty: nobody may take the report of an earlier run for this one.
    let file = junit.map(created).transpose()?;
    let mut table = Table::default();
    layers(&mut table);
    if let Some(signal) = exec::interrupted() {
        bail!("interrupted by signal {signal}");
    }
    table.print(out).context("writing the table")?;
    let ([passed, failed, _], unavailable) = (table.total(), table.unavailable);
    if let (Some(file), Some(path)) = (file, junit) {
        table.write(file).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(match failed {
        0 if passed > 0 => 0,
        failed if failed > 0 && failed == unavailable => UNAVAILABLE,
        _ => 1,
    })
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
    let mut report =
        Report::deserialize_from_str(&text).context("reading the report of the tests")?;
    ensure!(report.tests > 0, "no test ran");
    ensure!(
        succeeded || report.failures + report.errors > 0,
        "the tests passed, but the program that runs them failed"
    );
    // A report of our own has them already; the table adds them anew.
    report.test_suites.iter_mut().for_each(|suite| suite.properties.clear());
    Ok(report.test_suites)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{anyhow, Error};

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

    #[test]
    fn exit_status_tells_failures_from_what_could_not_be_had() -> Result<()> {
        let status = |errors: Vec<Option<Error>>| {
            conclude(None, &mut Vec::new(), |table| {
                for error in errors {
                    table.check("host", "a", || error.map_or(Ok(()), Err));
                }
            })
        };
        let absent = || Some(anyhow!("no network").context(Unavailable("the VM")));
        assert_eq!(status(vec![None])?, 0);
        assert_eq!(status(vec![None, absent()])?, UNAVAILABLE);
        assert_eq!(status(vec![Some(anyhow!("wrong")), absent()])?, 1);
        assert_eq!(status(vec![])?, 1);
        Ok(())
    }

    /// A report of cargo-nextest, shortened.
    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="2" failures="1" errors="0" time="1.500">
    <testsuite name="dmabufio::methods" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="a" classname="dmabufio::methods" time="1.000"/>
        <testcase name="b" classname="dmabufio::methods" time="0.500">
            <failure message="1 &lt; 2" type="test failure">1 &lt; 2</failure>
        </testcase>
    </testsuite>
</testsuites>
"#;

    #[test]
    fn results_of_nextest_keep_their_names_times_and_failures() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, junit) = (dir.path().join("nextest.xml"), dir.path().join("junit.xml"));
        fs::write(&path, REPORT)?;
        let mut out = Vec::new();
        let status = conclude(Some(&junit), &mut out, |table| {
            table.run("vm", "all", || report(&path, false));
        })?;
        assert_eq!(status, 1);
        assert!(String::from_utf8(out)?.ends_with("\n1 passed, 1 failed\n"));
        let text = fs::read_to_string(junit)?;
        for wanted in [
            r#"<testsuite name="vm: dmabufio::methods" tests="2" skipped="0" errors="0" failures="1" disabled="0" time="1.500">"#,
            r#"<testcase name="a" classname="dmabufio::methods" time="1.000"/>"#,
            r#"<failure message="1 &lt; 2" type="test failure">1 &lt; 2</failure>"#,
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        Ok(())
    }

    #[test]
    fn run_that_failed_without_a_failed_test_is_an_error() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("nextest.xml");
        assert!(report(&path, true).is_err(), "there is no report");
        let passed = REPORT.replace("failures=\"1\"", "failures=\"0\"");
        fs::write(&path, &passed)?;
        assert!(report(&path, false).is_err());
        assert!(report(&path, true).is_ok());
        Ok(())
    }
}

//! The results as JUnit XML, which CI systems read: a suite for each line of the table, a case for each test.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::count::Outcome;
use super::Row;
use crate::tree;

/// A file that a report is to be written to.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    /// Creates the file, empty: the report of an earlier run must not pass for that of one which is interrupted.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Target { path: path.to_owned(), file })
    }

    /// Writes the report of `rows`.
    pub fn write(mut self, rows: &[Row]) -> Result<()> {
        // A tree need not come from git.
        let commit = tree::commit(40).ok();
        let text =
            report(rows, commit.as_deref()).to_string().context("making the JUnit report")?;
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

fn report(rows: &[Row], commit: Option<&str>) -> Report {
    let mut report = Report::new("dmabufio");
    report.set_time(rows.iter().map(|row| row.time).sum());
    report.add_test_suites(rows.iter().map(|row| suite(row, commit)));
    report
}

fn suite(row: &Row, commit: Option<&str>) -> TestSuite {
    let name = format!("{}: {}", row.layer, row.what);
    let mut suite = TestSuite::new(name.clone());
    suite.set_time(row.time);
    let commit = commit.map(|commit| ("commit", commit));
    let properties = row.properties.iter().map(|(name, value)| (*name, value.as_str()));
    suite.add_properties(properties.chain(commit));
    for case in &row.cases {
        let status = match case.outcome {
            Outcome::Passed => TestCaseStatus::success(),
            Outcome::Failed => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(
                    case.output.lines().find(|line| !line.is_empty()).unwrap_or_default(),
                );
                status.set_description(case.output.as_str());
                status
            }
            Outcome::Skipped => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(case.output.as_str());
                status
            }
        };
        let mut written = TestCase::new(case.name.as_str(), status);
        written.set_classname(name.as_str());
        // Test programs say how long all of their tests took, not each.
        if row.cases.len() == 1 {
            written.set_time(row.time);
        }
        suite.add_test_case(written);
    }
    suite
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::count::cases;
    use std::time::Duration;

    #[test]
    fn report_has_the_shape_that_ci_systems_read() -> Result<()> {
        let output = "test a ... ok\ntest b ... FAILED\ntest c ... ignored, why\n\n\
                      ---- b stdout ----\n1 < 2 & 3\n\nfailures:\n    b\n\n\
                      test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured\n";
        let row = |what: &str, output, success| Row {
            layer: "vm",
            what: what.to_owned(),
            cases: cases(output, success),
            time: Duration::from_millis(1500),
            properties: vec![("kernel", "patched".to_owned())],
        };
        let rows = [row("many", output, false), row("one", "ok 1 - d\n", true)];
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="dmabufio" tests="4" skipped="1" failures="1" errors="0" time="3.000">
    <testsuite name="vm: many" tests="3" skipped="1" errors="0" failures="1" time="1.500">
        <properties>
            <property name="kernel" value="patched"/>
            <property name="commit" value="abc"/>
        </properties>
        <testcase name="a" classname="vm: many"/>
        <testcase name="b" classname="vm: many">
            <failure message="1 &lt; 2 &amp; 3">1 &lt; 2 &amp; 3</failure>
        </testcase>
        <testcase name="c" classname="vm: many">
            <skipped message="why"/>
        </testcase>
    </testsuite>
    <testsuite name="vm: one" tests="1" skipped="0" errors="0" failures="0" time="1.500">
        <properties>
            <property name="kernel" value="patched"/>
            <property name="commit" value="abc"/>
        </properties>
        <testcase name="d" classname="vm: one" time="1.500"/>
    </testsuite>
</testsuites>
"#;
        assert_eq!(report(&rows, Some("abc")).to_string()?, expected);
        Ok(())
    }
}

//! `cargo xtask test`: every layer of tests, one table and one closing line.
//!
//! A layer that cannot run is a failure, never a skip: nobody reads the skips of a green run.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use xtask::exec;
use xtask::failure::UNAVAILABLE;

use crate::aosp;

mod guest;
mod host;
mod ktap;
pub mod table;

use table::Table;

/// Arguments of `cargo xtask test`; all layers unless some are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format, lints, documentation, architecture rules, unit and integration tests on this host
    #[arg(long)]
    host: bool,
    /// The same methods and the whole service in the VM, on both kernels, both buses and both file systems
    #[arg(long)]
    vm: bool,
    /// The checks that need Android's own tools
    #[arg(long)]
    aosp: bool,
    /// Write the results to this file as JUnit XML too, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
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
            table.run("aosp", "Android's own tools", aosp::test);
        }
    })
}

/// Calls `layers` to fill the table, writes it to `out` and the report to `junit`, and returns the
/// exit status.
fn conclude(
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

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{anyhow, Error};
    use std::fs;
    use table::report;
    use xtask::failure::Unavailable;

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

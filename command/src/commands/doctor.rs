//! `dmabufio doctor`: what works here, what does not, and what to do about it.

mod finding;
mod heaps;
mod kernel;
mod running;
mod selinux;
mod service;
mod storage;
mod ufs;
mod vintf;
mod xml;

use crate::connect::ConnectArgs;
use crate::output::Output;
use anyhow::Result;
use finding::{Finding, Verdict};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say what works here: kernel, heaps, service, SELinux, file system, UFS device
///
/// Exit status: 0 everything is as it should be, 1 it works but not at full speed, 2 it does not
/// work.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The directory whose file system and disk are looked at
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Judge this kernel configuration (text or gzip) and not the running kernel
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    findings: Vec<Finding>,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let mut findings = kernel::findings(args.config.as_deref(), connect);
    findings.extend(heaps::findings(connect));
    findings.push(service::answer(connect));
    findings.push(vintf::finding(Path::new("/")));
    findings.extend(selinux::findings());
    findings.extend(storage::findings(&args.path));
    findings.push(ufs::finding());
    findings.sort_by_key(|finding| finding.group);
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let report = Report { verdict, findings };
    output.result(&report, |out| write(out, &report))?;
    Ok(match verdict {
        Verdict::Ok | Verdict::Info => ExitCode::SUCCESS,
        Verdict::Slow => ExitCode::from(1),
        Verdict::Broken => ExitCode::from(2),
    })
}

fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let mut last = None;
    for Finding { group, subject, verdict, text, fix } in &report.findings {
        if last.replace(*group) != Some(*group) {
            writeln!(out, "{group}")?;
        }
        let mark = match verdict {
            Verdict::Ok => "ok",
            Verdict::Info => "-",
            Verdict::Slow => "SLOW",
            Verdict::Broken => "BROKEN",
        };
        writeln!(out, "  {mark:<7}{subject:<19}{text}")?;
        if let Some(fix) = fix {
            writeln!(out, "{:<28}fix: {fix}", "")?;
        }
    }
    let verdict = match report.verdict {
        Verdict::Ok | Verdict::Info => "everything is as it should be",
        Verdict::Slow => "it works, but not at full speed",
        Verdict::Broken => "it does not work here",
    };
    writeln!(out, "{verdict}")
}

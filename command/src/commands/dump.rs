//! `dmabufio dump`: the dump of the service.

use crate::connect::ConnectArgs;
use crate::output::{print, Output};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Print the state of the service, as dumpsys does
///
/// It shows what the service can do and why, the requests in flight, what counts for each user,
/// totals, latencies and the last errors. docs/dump.md describes it, and the object of --json.
#[derive(clap::Args)]
pub struct Args {
    /// Show only this user among the requests, the charges and the errors
    #[arg(long, value_name = "UID")]
    client: Option<u32>,

    /// Afterwards, forget the totals, the latencies and the errors; for root, system and shell only
    #[arg(long)]
    reset: bool,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = args.client.map(|uid| uid.to_string());
    let mut words = Vec::new();
    if output.is_json() {
        words.push("--json");
    }
    if args.reset {
        words.push("--reset");
    }
    if let Some(uid) = &client {
        words.extend(["--client", uid]);
    }
    let text = connect.connect()?.dump(&words)?;
    print(&text).context("write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

//! `dmabufio snapshot restore`

use super::choice::{open, variant, TaskArgs};
use super::picture::PictureReport;
use super::png;
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{Context, Result};
use dmabufio_client::replace::{Cleanup, Replacement};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Load the picture of a task into a new buffer and print the receipt
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    task: TaskArgs,

    /// The picture of half the width and half the height
    #[arg(long)]
    reduced: bool,

    /// Then write it as a PNG, not turned, and with the alpha values as they are
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    store: NameField,
    user: u32,
    task: u32,
    picture: PictureReport,
    heap: String,
    total_nanos: u128,
    receipt: ReceiptReport,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let cleanup = Cleanup::on_signals()?;
    let TaskArgs { store: folder, task, user } = &args.task;
    let store = open(folder, None)?;
    let client = connect.connect()?;
    let start = Instant::now();
    let snapshot = store.restore(&client, args.task.id(), variant(args.reduced))?;
    let total = start.elapsed();
    if let Some(path) = &args.png {
        let name = shown(path);
        let new = Replacement::new(path, cleanup).with_context(|| name.clone())?;
        png::write(&snapshot, new.file()).with_context(|| name.clone())?;
        new.publish().with_context(|| name.clone())?;
    }
    let report = Report {
        store: NameField::new("store", folder),
        user: *user,
        task: *task,
        picture: PictureReport::new(&snapshot.picture),
        heap: snapshot.buffer.heap().to_string(),
        total_nanos: total.as_nanos(),
        receipt: ReceiptReport::new(&snapshot.receipt),
    };
    output.result(&report, |out| {
        let (id, what, via) = (args.task.id(), report.picture.summary(), connect.describe());
        writeln!(out, "restored {id}: {what}, {} by {via}", size::bytes(report.receipt.bytes))?;
        let rate = size::rate(report.receipt.bytes, total);
        writeln!(out, "  total      {:>10}  {rate} with the checksum", size::time(total))?;
        report.receipt.write(out)?;
        if let Some(path) = &args.png {
            writeln!(out, "  PNG        {}", shown(path))?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

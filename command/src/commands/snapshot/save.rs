//! `dmabufio snapshot save`

use super::choice::{open, TaskArgs};
use super::picture::PictureReport;
use super::source::SourceArgs;
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{Context, Result};
use dmabufio_client::snapshot::Pixels;
use serde::Serialize;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;
use std::time::Instant;

/// Save the picture of a task durably, in place of the one before
///
/// The folder is made, for its owner only, if it does not exist.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    task: TaskArgs,

    #[command(flatten)]
    source: SourceArgs,

    /// Save a picture of half the width and half the height as well
    #[arg(long)]
    reduced: bool,

    /// Remove the oldest others until all have at most this (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    max_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    store: NameField,
    user: u32,
    task: u32,
    picture: PictureReport,
    total_nanos: u128,
    receipt: ReceiptReport,
    reduced: Option<ReceiptReport>,
    evicted: Vec<Evicted>,
}

#[derive(Serialize)]
struct Evicted {
    user: u32,
    task: u32,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let TaskArgs { store: folder, task, user } = &args.task;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make the folder {}", shown(folder)));
        }
        _ => {}
    }
    let store = open(folder, args.max_bytes)?;
    let client = connect.connect()?;
    let (picture, buffer) = args.source.read(&client)?;
    let pixels = Pixels { picture, buffer: buffer.as_fd(), offset: 0 };
    let start = Instant::now();
    let saved = store
        .save(&client, args.task.id(), &pixels, args.reduced)
        .with_context(|| format!("save to {}", shown(folder)))?;
    let total = start.elapsed();
    let evicted = saved.evicted.iter().map(|id| Evicted { user: id.user, task: id.task });
    let report = Report {
        store: NameField::new("store", folder),
        user: *user,
        task: *task,
        picture: PictureReport::new(&picture),
        total_nanos: total.as_nanos(),
        receipt: ReceiptReport::new(&saved.receipt),
        reduced: saved.reduced.as_ref().map(ReceiptReport::new),
        evicted: evicted.collect(),
    };
    output.result(&report, |out| {
        let (id, what, via) = (args.task.id(), report.picture.summary(), connect.describe());
        writeln!(out, "saved {id}: {what}, {} by {via}", size::bytes(report.receipt.bytes))?;
        writeln!(out, "  total      {:>10}  with the checksum and the sync", size::time(total))?;
        report.receipt.write(out)?;
        if let Some(reduced) = &report.reduced {
            writeln!(out, "  reduced    {:>10}", size::bytes(reduced.bytes))?;
        }
        for id in &saved.evicted {
            writeln!(out, "  removed    {id}")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

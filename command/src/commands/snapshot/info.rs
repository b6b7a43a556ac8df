//! `dmabufio snapshot info`

use super::choice::{open, variant, TaskArgs};
use super::picture::PictureReport;
use crate::name::NameField;
use crate::output::Output;
use crate::size;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;

/// Show what the header of a snapshot says, without reading its pixels
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    task: TaskArgs,

    /// The picture of half the width and half the height
    #[arg(long)]
    reduced: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    store: NameField,
    user: u32,
    task: u32,
    picture: PictureReport,
    bytes: u64,
    /// As eight hexadecimal digits.
    payload_crc32c: String,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let TaskArgs { store: folder, task, user } = &args.task;
    let info = open(folder, None)?.info(args.task.id(), variant(args.reduced))?;
    let report = Report {
        store: NameField::new("store", folder),
        user: *user,
        task: *task,
        picture: PictureReport::new(&info.picture),
        bytes: info.bytes,
        payload_crc32c: format!("{:08x}", info.payload_crc),
    };
    output.result(&report, |out| {
        let (id, what) = (args.task.id(), report.picture.summary());
        writeln!(out, "{id}: {what}, {}", size::bytes(report.bytes))?;
        report.picture.write(out)?;
        writeln!(out, "  CRC-32C    {:>10}", report.payload_crc32c)
    })?;
    Ok(ExitCode::SUCCESS)
}

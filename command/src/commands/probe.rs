//! `dmabufio probe`

use super::load::available;
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::Output;
use crate::size;
use anyhow::{Context, Result};
use dmabufio_core::extent::Extent;
use dmabufio_core::file::RegularFile;
use dmabufio_core::method::Mode;
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Predict the path of a load, without I/O
#[derive(clap::Args)]
pub struct Args {
    /// The file
    file: PathBuf,

    /// The start in the file, in bytes (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::parse)]
    offset: u64,

    /// How much it would load, in bytes; the rest of the file unless given
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    length: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    file: NameField,
    direct_alignment: Option<u64>,
    bytes_direct: u64,
    bytes_bounced: u64,
    bytes_buffered: u64,
    method: String,
    reason: Option<String>,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let file = client.open_for_transfer(&args.file, Mode::Auto)?;
    let len = available(&args.file, &file, args.offset, args.length)?;
    let capabilities = client.capabilities()?;
    let extent = Extent {
        file_offset: args.offset,
        buffer_offset: args.offset % capabilities.page_size,
        len,
    };
    let plan = client
        .probe(file.as_fd(), &[extent])
        .with_context(|| format!("probe {}", shown(&args.file)))?;
    let plan = plan.first().context("the service predicted nothing")?;
    let report = Report {
        file: NameField::new("file", &args.file),
        direct_alignment: RegularFile::new(file.as_fd(), capabilities.heap)?.direct_align(),
        bytes_direct: plan.direct,
        bytes_bounced: plan.bounced,
        bytes_buffered: plan.buffered,
        method: plan.method.map_or_else(|| "none".to_owned(), |method| method.to_string()),
        reason: plan.reason.map(|reason| reason.to_string()),
    };
    output.result(&report, |out| {
        writeln!(out, "{}: {} by {}", shown(&args.file), report.method, connect.describe())?;
        match report.direct_alignment {
            Some(align) => writeln!(out, "  direct I/O aligned to {align} bytes")?,
            None => writeln!(out, "  the file or its file system offers no direct I/O")?,
        }
        writeln!(out, "  direct     {:>10}", size::bytes(plan.direct))?;
        writeln!(out, "  bounced    {:>10}", size::bytes(plan.bounced))?;
        writeln!(out, "  buffered   {:>10}", size::bytes(plan.buffered))?;
        if let Some(reason) = &report.reason {
            writeln!(out, "  fallback   {reason}")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

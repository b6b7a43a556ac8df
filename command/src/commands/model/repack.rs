//! `dmabufio model repack`

use crate::name::{shown, NameField};
use crate::output::Output;
use crate::size;
use anyhow::{ensure, Context, Result};
use dmabufio_client::model::{repack, Part};
use dmabufio_client::replace::{Cleanup, Replacement};
use dmabufio_core::sys::sysconf::page_size;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a model again with its data at multiples of the page
///
/// Names, types, shapes, metadata, order and data stay the same, and the tools of the format read
/// the new file. In a GGUF file each tensor begins at a multiple; safetensors has no room between
/// tensors, so there the data as a whole does. Repack each file of a sharded or split model.
///
/// The destination is made or replaced in one step, and is on stable storage on success.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The model: one safetensors or GGUF file
    file: PathBuf,

    /// The file to make or to replace
    destination: PathBuf,

    /// The multiple, a power of two (suffixes K, M, G); the page size of this machine unless given
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    align: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    destination: NameField,
    bytes: u64,
    align: u64,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    ensure!(
        args.file.extension().is_none_or(|extension| extension != "json"),
        "{}: repack each file that it names, and copy it beside them",
        shown(&args.file)
    );
    let cleanup = Cleanup::on_signals()?;
    let part = Part::open(&args.file)?;
    let align = args.align.unwrap_or_else(page_size);
    let name = shown(&args.destination);
    let replacement = Replacement::new(&args.destination, cleanup).with_context(|| name.clone())?;
    repack(&part, replacement.file(), align)?;
    let file = replacement.file();
    file.sync_all().with_context(|| format!("sync what is to become {name}"))?;
    replacement.publish().with_context(|| name.clone())?;
    replacement.sync_name().with_context(|| name.clone())?;
    let report = Report {
        destination: NameField::new("destination", &args.destination),
        bytes: file.metadata().with_context(|| name.clone())?.len(),
        align,
    };
    output.result(&report, |out| {
        let (bytes, align) = (size::bytes(report.bytes), size::bytes(align));
        writeln!(out, "repacked {name}: {bytes}, data at multiples of {align}")
    })?;
    Ok(ExitCode::SUCCESS)
}

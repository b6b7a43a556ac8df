//! `dmabufio save`

use super::load::{available, load};
use super::{sliced, verify, ModeArg};
use crate::connect::ConnectArgs;
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use dmabufio_client::Transfer;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::transfer::Durability;
use serde::Serialize;
use std::fs::{File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Save a buffer to a file, durably and whole or not at all
///
/// The buffer is loaded from another file first. It is saved to a new file beside the
/// destination, which then takes the destination's name: a failure leaves what was there before.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The file to make or to replace
    destination: PathBuf,

    /// The file whose content the buffer gets
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// How much must bypass the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// What must be on stable storage on success
    #[arg(long, value_enum, default_value = "full")]
    durability: DurabilityArg,

    /// Compare the saved file with the buffer, each read by the CPU
    #[arg(long)]
    verify: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DurabilityArg {
    /// Nothing
    None,
    /// The data
    Data,
    /// The data, all metadata and the file's name
    Full,
}

#[derive(Serialize)]
struct Report {
    destination: String,
    load: ReceiptReport,
    save: ReceiptReport,
    /// Compared with the buffer, and equal.
    verified: bool,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let source = client.open_for_transfer(&args.from, args.mode.into())?;
    let len = available(&args.from, &source, 0, None)?;
    let loaded = load(&client, output, &source, 0, len, args.mode)
        .with_context(|| format!("load {}", args.from.display()))?;
    let len = loaded.receipt.bytes();

    let name = args.destination.display();
    let directory = match args.destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mode = match args.destination.metadata() {
        Ok(existing) if !existing.is_file() => bail!("{name}: exists and is no regular file"),
        Ok(existing) => existing.permissions(),
        Err(_) => Permissions::from_mode(0o666),
    };
    let file = tempfile::Builder::new()
        .prefix(".dmabufio-")
        .permissions(mode)
        .tempfile_in(directory)
        .with_context(|| format!("make a file in {} to save to", directory.display()))?;
    let transfer = Transfer {
        mode: args.mode.into(),
        durability: match args.durability {
            DurabilityArg::None => Durability::None,
            DurabilityArg::Data => Durability::Data,
            DurabilityArg::Full => Durability::Full,
        },
        ..Transfer::new(loaded.buffer.as_fd(), file.as_file().as_fd(), &[], Direction::Save)
    };
    let extent = Extent { file_offset: 0, buffer_offset: loaded.at, len };
    let receipt = sliced::transfer(&client, &transfer, extent, output.progress(len, "saving"))
        .with_context(|| format!("save {name}"))?;

    if args.verify {
        verify::equal(file.as_file(), 0, &loaded.buffer, loaded.at, len)
            .with_context(|| format!("verify what is to become {name}"))?;
    }
    file.persist(&args.destination).with_context(|| format!("rename to {name}"))?;
    if args.durability == DurabilityArg::Full {
        // The name is the directory's data.
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.with_context(|| format!("sync {}", directory.display()))?;
    }

    let report = Report {
        destination: name.to_string(),
        load: ReceiptReport::new(&loaded.receipt),
        save: ReceiptReport::new(&receipt),
        verified: args.verify,
    };
    output.result(&report, |out| {
        writeln!(out, "saved {name}: {} by {}", size::bytes(len), connect.describe())?;
        report.save.write(out)?;
        if report.verified {
            writeln!(out, "  verified   equal to the buffer")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

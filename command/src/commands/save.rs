//! `dmabufio save`

use super::load::{available, load};
use super::{sliced, verify, DurabilityArg, ModeArg};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{Context, Result};
use dmabufio_client::replace::{Cleanup, Replacement};
use dmabufio_client::Transfer;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Mode;
use dmabufio_core::sys::sysconf::page_size;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::Durability;
use serde::Serialize;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Save a buffer to a file durably: the whole new file or the old one
///
/// save first loads the buffer from the file of --from. It writes the buffer to a new file in the
/// destination's folder, and then gives that file the destination's name. A failure or a signal
/// leaves the old file.
///
/// The new file gets the owner, group, permissions, access control list, user extended attributes
/// and, if the policy allows it, SELinux label of the old file; otherwise save fails before any
/// I/O. It never gets set-user-ID, set-group-ID or file capabilities. Other hard links keep the old
/// content. If the destination is a symbolic link, save replaces the file at its end.
///
/// save refuses a link that leads to no file, a destination that is not a regular file or not
/// writable, and a destination that appears while save runs.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The file to create or to replace
    destination: PathBuf,

    /// The file to load the buffer from
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// Whether the transfers bypass the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// The data that is on stable storage on success
    #[arg(long, value_enum, default_value = "full")]
    durability: DurabilityArg,

    /// Compare the saved file with the buffer, each read by the CPU
    #[arg(long)]
    verify: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    destination: NameField,
    load: ReceiptReport,
    save: ReceiptReport,
    /// Compared with the buffer, and equal.
    verified: bool,
}

/// The bytes of the first `len` that a descriptor with `O_DIRECT` takes.
fn whole_blocks(direct: &File, len: u64) -> Result<u64> {
    let align = RegularFile::new(direct.as_fd(), Heap::System)?.direct_align();
    Ok(align.map_or(0, |align| len - len % align.max(page_size())))
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    // Before the client has threads, which would get the signals otherwise.
    let cleanup = Cleanup::on_signals()?;
    let client = connect.connect()?;
    let name = shown(&args.destination);
    let replacement = Replacement::new(&args.destination, cleanup).with_context(|| name.clone())?;
    let file = replacement.file();
    let source = client.open_for_transfer(&args.from, args.mode.into())?;
    let len = available(&args.from, &source, 0, None)?;
    let loaded = load(&client, output, &source, 0..len, args.mode, None)
        .with_context(|| format!("load {}", shown(&args.from)))?;
    let len = loaded.receipt.bytes();
    replacement.preallocate(len).with_context(|| name.clone())?;

    let mut progress = output.progress(len, "saving");
    let mut add = |moved: Extent| {
        progress.add(moved.len);
        Ok(())
    };
    let mode = args.mode.into();
    let direct = client.reopen_for_save(file, mode)?;
    let blocks = direct.as_ref().map_or(Ok(0), |direct| whole_blocks(direct, len))?;
    let mut part = |file: &File, range: Range<u64>, mode, durability| {
        let transfer = Transfer {
            mode,
            durability,
            ..Transfer::new(loaded.buffer.as_fd(), file.as_fd(), &[], Direction::Save)
        };
        let buffer_offset = loaded.at + range.start;
        let len = range.end - range.start;
        let extent = Extent { file_offset: range.start, buffer_offset, len };
        sliced::transfer(&client, &transfer, extent, &mut add)
            .with_context(|| format!("save {name}"))
    };
    let receipt = match &direct {
        Some(direct) if blocks > 0 => {
            let mut receipt = part(direct, 0..blocks, mode, Durability::None)?;
            // Less than a block, or nothing; the durability is for all of the file.
            let edge = part(file, blocks..len, Mode::Auto, args.durability.into())?;
            receipt.add(&Receipt {
                bounced: edge.bytes(),
                buffered: 0,
                first_fallback: None,
                ..edge
            });
            receipt
        }
        _ => part(file, 0..len, mode, args.durability.into())?,
    };
    drop(progress);

    if args.verify {
        verify::equal(file, 0, &loaded.buffer, loaded.at, len)
            .with_context(|| format!("verify what is to become {name}"))?;
    }
    replacement.publish().with_context(|| name.clone())?;
    if args.durability == DurabilityArg::Full {
        replacement.sync_name().with_context(|| name.clone())?;
    }

    let report = Report {
        destination: NameField::new("destination", &args.destination),
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

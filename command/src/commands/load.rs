//! `dmabufio load`

use super::expected::{self, ExpectedArgs};
use super::{sliced, verify, ModeArg};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{bail, ensure, Context, Error, Result};
use dmabufio_client::digest::Digester;
use dmabufio_client::{open_regular, Buffer, Client, Error as ClientError, Filled, Load, Transfer};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::cached_pages;
use dmabufio_core::load::{Item, MAX_BATCH};
use dmabufio_core::transfer::receipt::Receipt;
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Buffers of one call where a digest of those before is computed meanwhile.
const DIGESTED_BATCH: usize = 4;

/// Load a file into new buffers and print the receipt
#[derive(clap::Args)]
pub struct Args {
    /// The file
    file: PathBuf,

    /// The start in the file, in bytes (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::parse)]
    offset: u64,

    /// How much to load, in bytes; the rest of the file unless given
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    length: Option<u64>,

    /// Fill buffers of this many bytes, and allocate the next while one fills
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    split: Option<u64>,

    /// Whether the load bypasses the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// Compare the buffer with the file, each read by the CPU
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    expected: ExpectedArgs,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    file: NameField,
    heap: String,
    buffers: usize,
    offset: u64,
    /// `None` if the allocation overlapped with reading.
    alloc_nanos: Option<u128>,
    total_nanos: u128,
    receipt: ReceiptReport,
    /// `None` if the kernel does not tell this user.
    page_cache_growth_pages: Option<i64>,
    /// Compared with the file, and equal.
    verified: bool,
    /// The SHA-256 of what was loaded, if one was expected; it is equal to that.
    sha256: Option<String>,
}

/// A file range in a buffer of its own.
pub struct Loaded {
    pub buffer: Buffer,
    /// The start of the data in the buffer: the file offset modulo the page size, so that the body
    /// can go direct.
    pub at: u64,
    pub receipt: Receipt,
    pub alloc: Duration,
}

/// Allocates a buffer for the bytes of `range` in `file`, and loads them. `digester` gets them.
pub fn load(
    client: &Client,
    output: &Output,
    file: &File,
    range: Range<u64>,
    mode: ModeArg,
    digester: Option<&Digester>,
) -> Result<Loaded> {
    let (offset, len) = (range.start, range.end - range.start);
    let page_size = client.capabilities()?.page_size;
    let at = offset % page_size;
    let start = Instant::now();
    // A buffer cannot be empty.
    let buffer = client.allocate((at + len).max(1), "load").context("allocate a buffer")?;
    let alloc = start.elapsed();
    let extent = Extent { file_offset: offset, buffer_offset: at, len };
    let transfer = Transfer {
        mode: mode.into(),
        ..Transfer::new(buffer.as_fd(), file.as_fd(), &[], Direction::Load)
    };
    let mut progress = output.progress(len, "loading");
    let receipt = sliced::transfer(client, &transfer, extent, &mut |moved| {
        progress.add(moved.len);
        match digester {
            Some(digester) => digester.add(&buffer, moved.buffer_offset, moved.len),
            None => Ok(()),
        }
    })?;
    Ok(Loaded { buffer, at, receipt, alloc })
}

/// Allocates buffers of `split` bytes for the bytes of `range` in `file`, and loads them. `digester`
/// gets them.
fn load_split(
    client: &Client,
    output: &Output,
    file: &File,
    range: Range<u64>,
    split: u64,
    mode: ModeArg,
    digester: Option<&Digester>,
) -> Result<Vec<Filled>> {
    ensure!(split > 0, "--split 0: give each buffer at least a byte");
    let page_size = client.capabilities()?.page_size;
    let at = range.start % page_size;
    ensure!(
        split % page_size == 0,
        "--split {split}: not a multiple of the page size, {page_size} bytes"
    );
    let item = |file_offset| {
        let len = split.min(range.end - file_offset);
        Item { size: at + len, extents: vec![Extent { file_offset, buffer_offset: at, len }] }
    };
    let items: Vec<Item> = range.clone().step_by(split as usize).map(item).collect();
    let mut progress = output.progress(range.end - range.start, "loading");
    let mut filled = Vec::with_capacity(items.len());
    for batch in items.chunks(if digester.is_some() { DIGESTED_BATCH } else { MAX_BATCH }) {
        let request = Load { mode: mode.into(), tag: "load", ..Load::new(file.as_fd(), batch) };
        for result in client.load(&request)? {
            let part = result.with_context(|| format!("buffer {}", filled.len()))?;
            progress.add(part.receipt.bytes());
            if let Some(digester) = digester {
                digester.add(&part.buffer, at, part.receipt.bytes())?;
            }
            filled.push(part);
        }
    }
    Ok(filled)
}

/// The number of bytes of `file` from `offset`, at most `length`.
pub fn available(path: &Path, file: &File, offset: u64, length: Option<u64>) -> Result<u64> {
    let size = file.metadata().with_context(|| format!("stat {}", shown(path)))?.len();
    let rest = size.saturating_sub(offset);
    if offset > size {
        bail!("--offset {offset}: beyond the end of {}, {size} bytes", shown(path));
    }
    Ok(length.map_or(rest, |length| length.min(rest)))
}

/// Adds a hint to the error that a buffer of `len` bytes is too large.
fn hint(error: Error, client: &Client, len: u64) -> Error {
    let too_large = client.capabilities().is_ok_and(|known| len > known.max_buffer_bytes);
    let kind = error.downcast_ref().and_then(ClientError::kind);
    if kind == Some(ErrorKind::QuotaExceeded) {
        return error.context("close buffers that this user holds, or see --quota of the service");
    }
    if !too_large && kind != Some(ErrorKind::NoMemory) {
        return error;
    }
    let hint = "too large for one buffer; use --split for several smaller ones, or --offset and \
                --length for a part of the file";
    error.context(hint)
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let file = match args.split {
        Some(_) => client.open_for_load(&args.file, args.mode.into())?,
        None => client.open_for_transfer(&args.file, args.mode.into())?,
    };
    let len = available(&args.file, &file, args.offset, args.length)?;

    let expected = args.expected.digest(&args.file)?;
    let digester = expected::start(expected)?;
    let cached = || cached_pages(file.as_fd(), 0, 0).ok();
    let cached_before = cached();
    let start = Instant::now();
    let name = shown(&args.file);
    let mut alloc = None;
    let (parts, at) = match args.split {
        Some(split) if len > 0 => {
            let range = args.offset..args.offset + len;
            let parts =
                load_split(&client, output, &file, range, split, args.mode, digester.as_ref())
                    .with_context(|| name.clone())?;
            (parts, args.offset % client.capabilities()?.page_size)
        }
        _ => {
            let range = args.offset..args.offset + len;
            let loaded = load(&client, output, &file, range, args.mode, digester.as_ref())
                .map_err(|error| hint(error, &client, len))
                .with_context(|| name.clone())?;
            alloc = Some(loaded.alloc);
            (vec![Filled { buffer: loaded.buffer, receipt: loaded.receipt }], loaded.at)
        }
    };
    let total = start.elapsed();
    let mut receipt = Receipt::default();
    parts.iter().for_each(|part| receipt.add(&part.receipt));
    let growth = cached_before.zip(cached()).map(|(before, after)| after as i64 - before as i64);

    let moved = receipt.bytes();
    expected::check(digester, expected).with_context(|| name.clone())?;
    if args.verify {
        // Another descriptor, which never has O_DIRECT.
        let file = open_regular(&args.file, OFlags::empty()).context("open the file to verify")?;
        let mut offset = args.offset;
        for Filled { buffer, receipt } in &parts {
            verify::equal(&file, offset, buffer, at, receipt.bytes())
                .with_context(|| format!("verify {name}"))?;
            offset += receipt.bytes();
        }
    }
    let report = Report {
        file: NameField::new("file", &args.file),
        heap: parts.first().map_or_else(String::new, |part| part.buffer.heap().to_string()),
        buffers: parts.len(),
        offset: args.offset,
        alloc_nanos: alloc.map(|alloc| alloc.as_nanos()),
        total_nanos: total.as_nanos(),
        receipt: ReceiptReport::new(&receipt),
        page_cache_growth_pages: growth,
        verified: args.verify,
        sha256: expected.map(|digest| digest.to_string()),
    };
    output.result(&report, |out| {
        let heap = &report.heap;
        let via = connect.describe();
        writeln!(out, "loaded {name}: {} by {via}", size::bytes(moved))?;
        writeln!(out, "  total      {:>10}  {}", size::time(total), size::rate(moved, total))?;
        match alloc {
            Some(alloc) => writeln!(out, "  allocate   {:>10}  heap {heap}", size::time(alloc))?,
            None => writeln!(out, "  buffers    {:>10}  heap {heap}", report.buffers)?,
        }
        report.receipt.write(out)?;
        if let Some(pages) = growth {
            writeln!(out, "  page cache {pages:>+10} pages")?;
        }
        if report.verified {
            writeln!(out, "  verified   equal to the file")?;
        }
        if let Some(digest) = &report.sha256 {
            writeln!(out, "  SHA-256    {digest}, as expected")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

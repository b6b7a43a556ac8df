//! `dmabufio bench`: the cost of filling dma-bufs from a file, in tables whose rows share one run.
//!
//! The first table was published with the kernel patch that this project builds on: 1 GiB in 32
//! buffers of 32 MiB, cold cache, a phone with UFS 4.0 and its CPU at 1 GHz. `docs/performance.md`
//! describes the others and the JSON.

mod figures;
mod fill;
mod fio;
mod model;
mod ours;
mod pressure;
mod report;
mod runner;
mod scratch;
mod service;
mod snapshot;
mod stream;

use crate::connect::ConnectArgs;
use crate::name::NameField;
use crate::output::Output;
use crate::size;
use anyhow::{ensure, Result};
use clap::ValueEnum;
use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::sysconf::page_size;
use fio::Job;
use model::BenchModel;
use ours::Clients;
use report::Report;
use runner::{measure, value_name, Cache, Case, Source};
use snapshot::BenchSnapshot;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure ways to fill dma-bufs from a file, side by side
#[derive(clap::Args)]
pub struct Args {
    /// The file, on a file system that does direct I/O
    file: PathBuf,

    /// How much of the file to use, in bytes; all of it unless given
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    size: Option<u64>,

    /// The tables to measure
    #[arg(long, value_delimiter = ',', default_value = "published")]
    table: Vec<TableArg>,

    /// Whether the page cache holds the file before a run
    #[arg(long, default_value = "cold")]
    cache: Cache,

    /// Bytes in one buffer, whole pages (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = size::parse)]
    chunk: u64,

    /// Runs of every row; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Fewer sizes of requests
    #[arg(long)]
    quick: bool,
}

/// The tables of `--table`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableArg {
    /// The six ways of the published table, beside its figures
    Published,
    /// Further ways that would be fair to them, and fio as the limit
    Fair,
    /// Allocating, reading and both: in this process, and through the service
    Ours,
    /// The whole file into one buffer: the cost of binder
    Whole,
    /// Requests of 4 KiB to 4 GiB, both ways
    Sizes,
    /// One request of 1 to 2048 extents
    Extents,
    /// Batched extents beside fio with the same blocks
    Blocks,
    /// 1 to 64 clients at once
    Clients,
    /// Little memory, little CPU
    Pressure,
    /// A model, tensor by tensor, beside mmap and read(2)
    Model,
    /// A file frame by frame through a ring, beside a load of all of it and read(2)
    Stream,
    /// Saving and restoring a picture of a task, beside PNG and JPEG
    Snapshot,
    /// Memory of the service; needs root
    Service,
    /// Start of the service: it takes over the name of the one that runs
    Start,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let page_size = page_size();
    ensure!(
        args.chunk > 0 && args.chunk % page_size == 0,
        "--chunk {}: not a multiple of the page size, {page_size} bytes",
        args.chunk
    );
    let source = Source::open(&args.file, args.size)?;
    let mut report = Report {
        file: NameField::new("file", &args.file),
        bytes: source.len,
        chunk: args.chunk,
        runs: args.runs,
        tables: Vec::new(),
        service: None,
        start: None,
    };
    let needs_client =
        |table: &TableArg| !matches!(table, TableArg::Published | TableArg::Fair | TableArg::Start);
    let clients = if args.table.iter().any(needs_client) {
        Some(Clients { service: connect.connect()?, local: Client::local(Heap::System)? })
    } else {
        None
    };
    let mut progress = output.progress(0, "measuring");
    let mut measured = |source: &Source, table: TableArg, cases: Vec<Case<'_>>| {
        measure(source, &value_name(table), args.cache, args.runs, cases, &mut progress)
    };
    for table in &args.table {
        let cases = match (table, &clients) {
            (TableArg::Published, _) => fill::published(&source, args.chunk),
            (TableArg::Fair, _) => {
                let mut cases = fill::fair(&source, args.chunk);
                cases.extend(LIMITS.map(|job| fio::case(&source, job, source.len)));
                cases
            }
            (TableArg::Start, _) | (_, None) => {
                report.start = service::start(args.runs)?;
                continue;
            }
            (TableArg::Service, Some(clients)) => {
                report.service = Some(service::memory(&source, &clients.service)?);
                continue;
            }
            (TableArg::Ours, Some(clients)) => ours::ours(&source, clients, args.chunk)?,
            (TableArg::Whole, Some(clients)) => ours::whole(&source, clients)?,
            (TableArg::Sizes, Some(clients)) => ours::sizes(&source, clients, !args.quick)?,
            (TableArg::Extents, Some(clients)) => ours::extents(&source, clients)?,
            (TableArg::Blocks, Some(clients)) => ours::blocks(&source, clients)?,
            (TableArg::Clients, Some(clients)) => ours::clients(&source, clients),
            (TableArg::Model, Some(clients)) => {
                let model = BenchModel::new(&source)?;
                let cases = model::model(&model, clients, args.chunk);
                report.tables.push(measured(&model.source, *table, cases));
                continue;
            }
            (TableArg::Stream, Some(clients)) => stream::stream(&source, clients, args.chunk),
            (TableArg::Snapshot, Some(clients)) => {
                let picture = BenchSnapshot::new(&source.path, clients)?;
                report.tables.push(measured(&source, *table, snapshot::snapshot(&picture)));
                continue;
            }
            (TableArg::Pressure, Some(clients)) => pressure::pressure(&source, clients, args.chunk),
        };
        report.tables.push(measured(&source, *table, cases));
    }
    drop(progress);
    output.result(&report, |out| report.write(out))?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// fio beside the fair rows.
const LIMITS: [Job; 6] = [
    Job::sequential(32 << 20, 1),
    Job::sequential(1 << 20, 1),
    Job::sequential(1 << 20, 32),
    Job::sequential(64 << 10, 1),
    Job::sequential(64 << 10, 32),
    Job { registered: true, ..Job::sequential(1 << 20, 4) },
];

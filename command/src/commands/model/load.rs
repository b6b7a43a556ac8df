//! `dmabufio model load`

use super::choice::PlanArgs;
use crate::commands::{verify, ModeArg};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{Context, Result};
use dmabufio_client::model::{Model, Part, Tensors};
use dmabufio_core::file::cached_pages;
use serde::Serialize;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

/// Load tensors into new buffers and print the receipt
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,

    /// How much must bypass the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// Compare each tensor with the file, both read by the CPU
    #[arg(long)]
    verify: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    file: NameField,
    heap: String,
    tensors: usize,
    bytes: u64,
    buffers: usize,
    bytes_moved: u64,
    total_nanos: u128,
    receipt: ReceiptReport,
    /// `None` if the kernel does not tell this user.
    page_cache_growth_pages: Option<i64>,
    /// Compared with the file, and equal.
    verified: bool,
}

/// Pages of the model's files in the page cache; `None` if the kernel does not say.
fn cached(model: &Model) -> Option<u64> {
    model.parts().iter().map(|part: &Part| cached_pages(part.as_fd(), 0, 0).ok()).sum()
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let (model, plan) = args.plan.plan(&client)?;
    let name = shown(&args.plan.file);
    let cached_before = cached(&model);
    let mut progress = output.progress(plan.bytes_read(), "loading");
    let start = Instant::now();
    let mut add = |bytes| progress.add(bytes);
    let loaded = Tensors::load_with_progress(&client, &model, plan, args.mode.into(), &mut add);
    let tensors = loaded.with_context(|| name.clone())?;
    let total = start.elapsed();
    drop(progress);
    let growth = cached_before.zip(cached(&model));
    let plan = tensors.plan();
    let mut bytes = 0;
    for place in plan.places() {
        let tensor = &model.tensors()[place.tensor];
        bytes += tensor.len;
        if args.verify {
            let (file, buffer) =
                (model.parts()[tensor.part].file(), &tensors.buffers()[place.buffer]);
            verify::equal(file, tensor.offset, buffer, place.offset, tensor.len)
                .with_context(|| format!("verify {:?}", tensor.name))?;
        }
    }
    let report = Report {
        file: NameField::new("file", &args.plan.file),
        heap: client.capabilities()?.heap.to_string(),
        tensors: plan.places().len(),
        bytes,
        buffers: tensors.buffers().len(),
        bytes_moved: plan.bytes_moved(),
        total_nanos: total.as_nanos(),
        receipt: ReceiptReport::new(tensors.receipt()),
        page_cache_growth_pages: growth.map(|(before, after)| after as i64 - before as i64),
        verified: args.verify,
    };
    output.result(&report, |out| {
        let (count, via) = (report.tensors, connect.describe());
        let (heap, read) = (&report.heap, report.receipt.bytes);
        writeln!(out, "loaded {name}: {count} tensors, {} by {via}", size::bytes(bytes))?;
        writeln!(out, "  total      {:>10}  {}", size::time(total), size::rate(read, total))?;
        writeln!(out, "  buffers    {:>10}  heap {heap}", report.buffers)?;
        report.receipt.write(out)?;
        writeln!(out, "  moved      {:>10}", size::bytes(report.bytes_moved))?;
        if let Some(pages) = report.page_cache_growth_pages {
            writeln!(out, "  page cache {pages:>+10} pages")?;
        }
        if report.verified {
            writeln!(out, "  verified   every tensor equal to the file")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

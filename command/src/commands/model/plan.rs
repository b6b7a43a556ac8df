//! `dmabufio model plan`

use super::choice::{name_of, PlanArgs};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::Output;
use crate::size;
use anyhow::Result;
use dmabufio_client::model::{Model, Place, Plan};
use serde::Serialize;
use std::process::ExitCode;

/// Show which buffers a load would make, and where each tensor would be
///
/// A tensor is "moved" if the alignment of the file is less than --align: the load reads it
/// directly, and then the CPU moves it inside its buffer. `dmabufio model repack` avoids that.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    file: NameField,
    bytes_read: u64,
    bytes_moved: u64,
    buffers: Vec<BufferRow>,
    tensors: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct BufferRow {
    size: u64,
    #[serde(flatten)]
    file: NameField,
    extents: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [u64],
    /// An index into `buffers`.
    buffer: usize,
    offset: u64,
    bytes: u64,
    moved: bool,
}

fn rows<'a>(model: &'a Model, plan: &Plan) -> Vec<Row<'a>> {
    let row = |place: &Place| {
        let tensor = &model.tensors()[place.tensor];
        Row {
            name: &tensor.name,
            dtype: tensor.dtype.name(),
            shape: &tensor.shape,
            buffer: place.buffer,
            offset: place.offset,
            bytes: tensor.len,
            moved: place.moved,
        }
    };
    plan.places().iter().map(row).collect()
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let (model, plan) = args.plan.plan(&client)?;
    let buffers = plan.buffers().iter().map(|buffer| BufferRow {
        size: buffer.size,
        file: NameField::new("file", model.parts()[buffer.part].name()),
        extents: buffer.extents.len(),
    });
    let report = Report {
        file: NameField::new("file", &args.plan.file),
        bytes_read: plan.bytes_read(),
        bytes_moved: plan.bytes_moved(),
        buffers: buffers.collect(),
        tensors: rows(&model, &plan),
    };
    output.result(&report, |out| {
        let (count, buffers) = (report.tensors.len(), report.buffers.len());
        let (name, read) = (shown(&args.plan.file), size::bytes(report.bytes_read));
        let moved = size::bytes(report.bytes_moved);
        writeln!(out, "{name}: {count} tensors, {buffers} buffers")?;
        writeln!(out, "  read       {read:>10}")?;
        writeln!(out, "  moved      {moved:>10}")?;
        for (i, buffer) in report.buffers.iter().enumerate() {
            let (bytes, extents) = (size::bytes(buffer.size), buffer.extents);
            let file = buffer.file.shown();
            writeln!(out, "buffer {i}: {bytes}, {extents} extents of {file}")?;
            for place in plan.places().iter().filter(|place| place.buffer == i) {
                let tensor = &model.tensors()[place.tensor];
                let (name, bytes) = (name_of(tensor), size::bytes(tensor.len));
                let moved = if place.moved { ", moved" } else { "" };
                writeln!(out, "  {:>12}  {bytes:>10}  {name}{moved}", place.offset)?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

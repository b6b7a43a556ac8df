//! `dmabufio model list`

use super::choice::name_of;
use crate::name::{shown, NameField};
use crate::output::Output;
use crate::size;
use anyhow::Result;
use dmabufio_client::model::{Model, Tensor};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// List the tensors of a model: type, shape, size and place in the file
#[derive(clap::Args)]
pub struct Args {
    /// The model
    file: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    file: NameField,
    format: String,
    bytes: u64,
    parts: Vec<NameField>,
    tensors: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [u64],
    /// An index into `parts`.
    part: usize,
    offset: u64,
    bytes: u64,
}

impl<'a> Row<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        let Tensor { name, dtype, shape, part, offset, len } = tensor;
        Self { name, dtype: dtype.name(), shape, part: *part, offset: *offset, bytes: *len }
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let model = Model::open(&args.file)?;
    let report = Report {
        file: NameField::new("file", &args.file),
        format: model.format().to_string(),
        bytes: model.tensors().iter().map(|tensor| tensor.len).sum(),
        parts: model.parts().iter().map(|part| NameField::new("file", part.name())).collect(),
        tensors: model.tensors().iter().map(Row::new).collect(),
    };
    output.result(&report, |out| {
        let (count, files) = (report.tensors.len(), report.parts.len());
        let (name, bytes) = (shown(&args.file), size::bytes(report.bytes));
        let format = &report.format;
        writeln!(out, "{name}: {format}, {count} tensors, {bytes}, {files} files")?;
        for tensor in model.tensors() {
            let (bytes, dtype) = (size::bytes(tensor.len), tensor.dtype.name());
            let (name, shape) = (name_of(tensor), &tensor.shape);
            writeln!(out, "  {bytes:>10}  {dtype:<8} at {:>12}  {name} {shape:?}", tensor.offset)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

//! `dmabufio model`

mod list;
mod load;
mod plan;
mod repack;

use crate::connect::ConnectArgs;
use crate::name::shown;
use crate::output::Output;
use crate::size;
use anyhow::Result;
use clap::Subcommand;
use dmabufio_client::model::{Layout, Model, Plan, Tensor};
use dmabufio_client::Client;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List, load and repack the tensors of a model
///
/// FILE is a safetensors file, the index of a sharded one (model.safetensors.index.json), or a GGUF
/// file of version 2 or 3. Of a split GGUF it is any of the files.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    List(list::Args),
    Plan(plan::Args),
    Load(load::Args),
    Repack(repack::Args),
}

/// Which tensors, and how they are laid out in buffers.
#[derive(clap::Args)]
struct PlanArgs {
    /// The model
    file: PathBuf,

    /// Only tensors with such names: * is any text, ? is one character (may be repeated)
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    tensors: Vec<String>,

    /// Begin each tensor in its buffer at a multiple of this, up to 64K; 1 keeps the file's alignment
    #[arg(long, value_name = "BYTES", default_value = "1", value_parser = size::parse)]
    align: u64,

    /// Size that a buffer with several tensors does not exceed (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    buffer_size: u64,
}

impl PlanArgs {
    fn plan(&self, client: &Client) -> Result<(Model, Plan)> {
        let model = Model::open(&self.file)?;
        let layout = Layout { buffer_size: self.buffer_size, ..Layout::of(client)? };
        let patterns: Vec<&str> = self.tensors.iter().map(String::as_str).collect();
        let plan = Plan::new(&model, &patterns, &layout.aligned(self.align))?;
        Ok((model, plan))
    }
}

/// The name of a tensor, for people.
fn name_of(tensor: &Tensor) -> String {
    shown(Path::new(&tensor.name))
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    match &args.action {
        Action::List(args) => list::run(args, output),
        Action::Plan(args) => plan::run(args, connect, output),
        Action::Load(args) => load::run(args, connect, output),
        Action::Repack(args) => repack::run(args, output),
    }
}

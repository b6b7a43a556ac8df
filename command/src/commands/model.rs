//! `dmabufio model`

mod choice;
mod list;
mod load;
mod plan;
mod repack;

use crate::connect::ConnectArgs;
use crate::output::Output;
use anyhow::Result;
use clap::Subcommand;
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

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    match &args.action {
        Action::List(args) => list::run(args, output),
        Action::Plan(args) => plan::run(args, connect, output),
        Action::Load(args) => load::run(args, connect, output),
        Action::Repack(args) => repack::run(args, output),
    }
}

//! `dmabufio stream`

mod latencies;
mod read;
mod record;
mod ring_args;

use crate::connect::ConnectArgs;
use crate::output::Output;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// Read or record a file through a ring of buffers
///
/// The service reads a file ahead, or writes frames to it, while this command uses the other
/// buffers of the ring. The ring is all the memory that a stream needs, whatever the length of the
/// file.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Read(read::Args),
    Record(record::Args),
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    match &args.action {
        Action::Read(args) => read::run(args, connect, output),
        Action::Record(args) => record::run(args, connect, output),
    }
}

//! `dmabufio stream`

mod latencies;
mod read;
mod record;

use crate::connect::ConnectArgs;
use crate::output::Output;
use crate::size;
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

/// Options of the ring.
#[derive(clap::Args)]
struct RingArgs {
    /// The length of a frame (suffixes K, M, G)
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = size::parse)]
    frame: u64,

    /// The buffers of the ring, at most 32
    #[arg(long, value_name = "COUNT", default_value = "8")]
    buffers: usize,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    match &args.action {
        Action::Read(args) => read::run(args, connect, output),
        Action::Record(args) => record::run(args, connect, output),
    }
}

//! `dmabufio snapshot`

mod choice;
mod info;
mod list;
mod picture;
mod png;
mod restore;
mod save;
mod source;

use crate::connect::ConnectArgs;
use crate::output::Output;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// Save and restore pictures of tasks
///
/// STORE is a folder with one name per task and user. A snapshot is the complete old one or the
/// complete new one, also after a crash. One with a wrong checksum is an error and is never shown.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Save(save::Args),
    Restore(restore::Args),
    Info(info::Args),
    List(list::Args),
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    match &args.action {
        Action::Save(args) => save::run(args, connect, output),
        Action::Restore(args) => restore::run(args, connect, output),
        Action::Info(args) => info::run(args, output),
        Action::List(args) => list::run(args, output),
    }
}

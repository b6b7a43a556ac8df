//! The command `dmabufio`, for people: on a phone, in the VM or on any Linux host.

mod commands;
mod connect;
mod name;
mod output;
mod progress;
mod size;

use anyhow::Error;
use clap::error::Error as UsageError;
use clap::{Parser, Subcommand};
use connect::ConnectArgs;
use dmabufio_core::sys::signal::ignore_file_size_signal;
use output::{print, Output};
use std::io::{stderr, Write};
use std::process::ExitCode;

/// Moves files into and out of dma-bufs without the page cache, and prints a receipt
#[derive(Parser)]
// Not the name of the package, which differs and which Soong does not set.
#[command(name = "dmabufio", version, propagate_version = true)]
#[command(after_help = "\
Examples:
  dmabufio doctor                               what works here, and what to do about the rest
  dmabufio load model.gguf --verify             load through the service, compare with the file
  dmabufio load model.gguf --local              the same without the service
  dmabufio probe model.gguf                     predict the path of a load, without I/O
  dmabufio save copy.gguf --from model.gguf     load, then save durably
  dmabufio model load model.gguf --align 64     load tensor by tensor; list, plan and repack too
  dmabufio snapshot save STORE --task 7 --from screen.raw
                                                save a picture of a task; restore, info, list too
  dmabufio stream read video.raw                read through a ring of buffers; record too
  dmabufio stat                                 what the service does now; dump has all of it
  dmabufio bench model.gguf                     the six ways of filling a dma-buf, side by side

Exit status: 0 success, 1 failure, 2 wrong usage. doctor: 0 fine, 1 works slowly, 2 does not work.")]
struct Cli {
    #[command(flatten)]
    connect: ConnectArgs,

    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(commands::load::Args),
    Save(commands::save::Args),
    Probe(commands::probe::Args),
    Model(commands::model::Args),
    Snapshot(commands::snapshot::Args),
    Stream(commands::stream::Args),
    Doctor(commands::doctor::Args),
    Dump(commands::dump::Args),
    Stat(commands::stat::Args),
    Bench(commands::bench::Args),
}

fn main() -> ExitCode {
    // A write beyond the largest file size is an error, like a write to a full disk.
    ignore_file_size_signal();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return usage(&said),
    };
    let output = Output::new(cli.json);
    let result = match &cli.command {
        Command::Load(args) => commands::load::run(args, &cli.connect, &output),
        Command::Save(args) => commands::save::run(args, &cli.connect, &output),
        Command::Probe(args) => commands::probe::run(args, &cli.connect, &output),
        Command::Model(args) => commands::model::run(args, &cli.connect, &output),
        Command::Snapshot(args) => commands::snapshot::run(args, &cli.connect, &output),
        Command::Stream(args) => commands::stream::run(args, &cli.connect, &output),
        Command::Doctor(args) => commands::doctor::run(args, &cli.connect, &output),
        Command::Dump(args) => commands::dump::run(args, &cli.connect, &output),
        Command::Stat(args) => commands::stat::run(args, &cli.connect, &output),
        Command::Bench(args) => commands::bench::run(args, &cli.connect, &output),
    };
    result.unwrap_or_else(|error| {
        output.failure(&error);
        ExitCode::FAILURE
    })
}

/// Prints the help, the version, or the error in the command line.
fn usage(said: &UsageError) -> ExitCode {
    if said.use_stderr() {
        // The exit status shows it, too.
        let _ = write!(stderr(), "{}", said.render());
    } else if let Err(error) = print(&said.render().to_string()) {
        Output::new(false).failure(&Error::new(error).context("write to standard output"));
        return ExitCode::FAILURE;
    }
    u8::try_from(said.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

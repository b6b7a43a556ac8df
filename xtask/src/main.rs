//! `cargo xtask`: sets up, builds, boots, tests and demonstrates the project. `cargo xtask help` lists the commands.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod aosp;
mod cache;
mod exec;
mod kernel;
mod packages;
mod tree;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Args {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Build the kernels that the VM boots
    Kernel(kernel::Args),
    /// Check what only Android's own tools can judge: AIDL, API freeze, Blueprint, policy, VINTF
    Aosp(aosp::Args),
}

fn main() -> ExitCode {
    match exec::handle_interrupts().and_then(|()| dispatch(Args::parse().command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Cmd) -> Result<()> {
    match command {
        Cmd::Kernel(args) => kernel::run(&args),
        Cmd::Aosp(args) => aosp::run(args),
    }
}

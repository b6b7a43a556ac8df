//! `cargo xtask`: sets up, builds, boots, tests and demonstrates the project. `cargo xtask help` lists the commands.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::exec;
use xtask::failure::{self, Reported};

mod aosp;
mod bench;
mod demo;
mod fuzz;
mod kernel;
mod presubmit;
mod setup;
mod soak;
mod test;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Args {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Get everything in advance: packages, QEMU, kernels, programs
    Setup,
    /// The main job from end to end: load and save a real file through the service, in the VM or with --embedded here
    Run(demo::Args),
    /// All tests: on this host, in the VM, and with Android's own tools
    Test(test::Args),
    /// Measure in the VM: the published table, further tables, and the project's own targets
    Bench(bench::Args),
    /// Run a command as root in the VM with the service up; exits with its status, 69 if the VM failed
    Vm(vm::Args),
    /// Run the fuzz targets: the parsers, and random transactions at the service
    Fuzz(fuzz::Args),
    /// Let 64 clients of one service come and go in the VM, and see what is left
    Soak(soak::Args),
    /// Build the kernels that the VM boots
    Kernel(kernel::Args),
    /// Check a change before it is sent: format, lints, documentation, architecture, links
    Presubmit(presubmit::Args),
    /// Run the checks that need Android's own tools: AIDL, API freeze, Blueprint, policy, VINTF
    #[command(disable_help_flag = true)]
    Aosp(aosp::Args),
}

fn main() -> ExitCode {
    match exec::handle_interrupts().and_then(|()| dispatch(Args::parse().command)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            if error.downcast_ref::<Reported>().is_none() {
                eprintln!("error: {error:#}");
            }
            // The status that a shell reports for a program that a signal ended.
            let signal = exec::interrupted().and_then(|signal| u8::try_from(128 + signal).ok());
            signal.map_or_else(|| failure::code(&error), ExitCode::from)
        }
    }
}

fn dispatch(command: Cmd) -> Result<u8> {
    match command {
        Cmd::Setup => setup::run()?,
        Cmd::Run(args) => return demo::run(&args),
        Cmd::Test(args) => return test::run(&args),
        Cmd::Bench(args) => return bench::run(&args),
        Cmd::Presubmit(args) => return presubmit::run(&args),
        Cmd::Aosp(args) => return aosp::run(&args),
        Cmd::Vm(args) => return vm::run(&args),
        Cmd::Soak(args) => return soak::run(&args),
        Cmd::Fuzz(args) => fuzz::run(&args)?,
        Cmd::Kernel(args) => kernel::run(&args)?,
    }
    Ok(0)
}

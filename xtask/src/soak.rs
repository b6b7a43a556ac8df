//! `cargo xtask soak`: runs the test program vm_soak in the VM for as long as it is told.

use anyhow::Result;
use xtask::cargo;
use xtask::exec::quote;

use crate::kernel::{Base, Flavour};
use crate::vm::{self, Bus, Fs, Options};

/// The number of clients at a time.
const CLIENTS: u32 = 64;

/// Minutes for the boot, and for the clients to start and to end.
const BESIDES: u64 = 15;

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long clients come and go, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Runs it and returns its exit status.
pub fn run(args: &Args) -> Result<u8> {
    let programs = [cargo::release()?];
    let test = cargo::test("vm_soak")?;
    let options = Options {
        kernel: Flavour::Patched,
        base: Base::default(),
        disk: Bus::Ufs,
        fs: Fs::F2fs,
        memory: "4G".to_owned(),
        module: false,
        heap: None,
        selinux: true,
        no_service: false,
        timeout: args.seconds / 60 + BESIDES,
        disk_rate: None,
        one_arena: true,
        out: None,
    };
    let test = quote(&test.to_string_lossy());
    let command = format!("DMABUFIO_SOAK='{CLIENTS} {}' {test} --nocapture", args.seconds);
    Ok(vm::status(&vm::boot(&options, &programs, &command)?))
}

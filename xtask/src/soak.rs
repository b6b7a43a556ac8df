//! `cargo xtask soak`: runs the test program vm_soak in the VM for as long as it is told. The long
//! form of other test programs runs in the same way.

use anyhow::Result;
use xtask::cargo;
use xtask::exec::quote;

use crate::kernel::Flavour;
use crate::vm::{self, Bus, Fs, Options};

/// The number of clients at a time.
const CLIENTS: u32 = 64;

/// Minutes for the boot, and for what comes before and after.
const BESIDES: u64 = 15;

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long clients come and go, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Runs it and returns its exit status.
pub fn run(args: &Args) -> Result<u8> {
    in_vm("vm_soak", args.seconds, &format!("DMABUFIO_SOAK='{CLIENTS} {}'", args.seconds))
}

/// Runs the test program `test`, which takes `seconds` with the assignments `environment`, and
/// returns its exit status.
pub fn in_vm(test: &str, seconds: u32, environment: &str) -> Result<u8> {
    let programs = [cargo::release()?];
    let test = cargo::test(test)?;
    let options = Options {
        kernel: Flavour::Patched,
        disk: Bus::Ufs,
        fs: Fs::F2fs,
        memory: "4G".to_owned(),
        module: false,
        heap: None,
        selinux: true,
        no_service: false,
        timeout: u64::from(seconds) / 60 + BESIDES,
        disk_rate: None,
        out: None,
    };
    let test = quote(&test.to_string_lossy());
    let command = format!("{environment} {test} --nocapture");
    Ok(vm::status(&vm::boot(&options, &programs, &command)?))
}

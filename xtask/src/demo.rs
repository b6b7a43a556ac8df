//! `cargo xtask run`: the main job from end to end, from a fresh machine to a real file loaded into a dma-buf and saved
//! again through the service; in the VM, or with `--embedded` on this host in seconds.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use xtask::cache::RunDir;
use xtask::exec::{self, Guarded};
use xtask::failure::{Unavailable, UNAVAILABLE};
use xtask::{cargo, tree};

use crate::vm::{self, Options};

/// Large enough to show rates, small enough for seconds.
const EMBEDDED_MIB: &str = "64";
const RESULT: &str = "result     loaded, verified, saved, and the copy is equal to the file";

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On this host, with the memfd heap, over a Unix socket: no VM, no root
    #[arg(long)]
    embedded: bool,
    #[command(flatten)]
    options: Options,
}

/// Runs the demo and returns the exit status.
pub fn run(args: &Args) -> Result<u8> {
    if args.embedded {
        return embedded().map(|()| 0);
    }
    let start = Instant::now();
    let options = &args.options;
    let programs = vm::programs(options)?;
    let outcome = match vm::boot(options, &programs, "sh vm/jobs/run.sh") {
        Ok(outcome) => outcome,
        Err(error)
            if error.downcast_ref::<Unavailable>().is_some() && exec::interrupted().is_none() =>
        {
            eprintln!("error: {error:#}");
            eprintln!("\nThe VM could not be had; the reason is above. The same story without a VM, with the embedded");
            eprintln!("heap (memfd) on this host, in seconds: cargo xtask run --embedded");
            return Ok(UNAVAILABLE);
        }
        Err(error) => return Err(error),
    };
    let status = vm::status(&outcome);
    let Options { kernel, fs, disk, .. } = options;
    println!("\n== What was seen");
    println!("kernel     {kernel} Linux in QEMU, {fs} on an emulated {disk} disk");
    println!("transport  binder of the kernel, service manager rsb_hub, vendor.dmabufio.IDmabufIo/default");
    match outcome.status {
        0 => println!("{RESULT}"),
        status => println!("result     failed with status {status}"),
    }
    match outcome.service {
        Some(status) => println!("service    ended with status {status} on SIGTERM"),
        None => println!("service    not started"),
    }
    let complaints =
        if outcome.complaints.is_empty() { "no complaints" } else { "complaints, see above" };
    println!("kernel log {complaints}");
    println!("time       {}", exec::elapsed(start.elapsed()));
    Ok(status)
}

/// The demo on this host.
pub fn embedded() -> Result<()> {
    let start = Instant::now();
    let programs = cargo::release()?;
    let run = RunDir::new()?;
    exec::say("starting dmabufio-service with the embedded heap (memfd) on this host");
    let mut job = exec::command("sh");
    job.arg("vm/jobs/embedded.sh").arg(run.path()).current_dir(tree::root()).stdin(Stdio::null());
    job.env("PATH", exec::path_with(&[programs])).env("DMABUFIO_DEMO_MIB", EMBEDDED_MIB);
    let status = Guarded::spawn(&mut job)?.wait(None)?.context("a demo that never ends")?;
    if let Some(signal) = exec::interrupted() {
        bail!("interrupted by signal {signal} while the demo ran");
    }
    ensure!(status.success(), "the demo {}", exec::describe(&status));
    println!("\n== What was seen");
    println!("heap       memfd, the embedded heap: ordinary memory of this host, no dma-buf heap and no RW_FILE");
    println!("transport  binder RPC over a Unix socket");
    println!("{RESULT}");
    println!("time       {}", exec::elapsed(start.elapsed()));
    println!("the real thing, on the patched kernel: cargo xtask run");
    Ok(())
}

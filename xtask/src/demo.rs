//! `cargo xtask run`: the main job from end to end, from a fresh machine to a real file loaded into a dma-buf and saved
//! again through the service; in the VM, or with `--embedded` on this host in seconds.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::cache::RunDir;
use crate::exec::{self, Guarded};
use crate::failure::{Unavailable, UNAVAILABLE};
use crate::vm::{self, Options};
use crate::{cargo, tree};

/// The story, told by a script that is the same in both places.
const JOB: &str = "vm/jobs/run.sh";
/// Large enough to show rates, small enough for seconds.
const EMBEDDED_MIB: &str = "64";
/// What the service may take to open its socket.
const START_LIMIT: Duration = Duration::from_secs(20);

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
        embedded()?;
        return Ok(0);
    }
    let start = Instant::now();
    let options = &args.options;
    let programs = vm::programs(options)?;
    let outcome = match vm::boot(options, programs.as_deref(), &format!("sh {JOB}")) {
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
    let sound = vm::report(&outcome);
    println!("\n== What was seen");
    println!(
        "kernel     {} Linux in QEMU, {} on an emulated {} disk",
        options.kernel, options.fs, options.disk
    );
    println!("transport  binder of the kernel, service manager rsb_hub, vendor.dmabufio.IDmabufIo/default");
    println!("result     {}", verdict(outcome.status));
    println!(
        "service    {}",
        outcome.service.map_or("not started".to_owned(), |code| format!(
            "ended with status {code} on SIGTERM"
        ))
    );
    println!(
        "kernel log {}",
        if outcome.complaints.is_empty() { "no complaints" } else { "complaints, see above" }
    );
    println!("time       {}", exec::elapsed(start.elapsed()));
    Ok(match u8::try_from(outcome.status).unwrap_or(u8::MAX) {
        0 if !sound => 1,
        status => status,
    })
}

fn verdict(status: i32) -> String {
    match status {
        0 => "loaded, verified, saved, and the copy is equal to the file".into(),
        status => format!("failed with status {status}"),
    }
}

/// The demo on this host.
pub fn embedded() -> Result<()> {
    let start = Instant::now();
    let programs = cargo::release()?;
    let run = RunDir::new()?;
    let socket = run.path().join("service.sock");
    let log = run.path().join("service.log");
    exec::say("starting dmabufio-service with the embedded heap (memfd) on this host");
    let sink = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = exec::command(programs.join("dmabufio-service"));
    command.args(["--heap", "memfd", "--socket"]).arg(&socket);
    command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink);
    let mut service = Guarded::spawn(&mut command)?;
    wait_for(&mut service, &socket, &log)?;

    let path = vm::path_with(&[&programs]);
    let mut job = exec::command("sh");
    job.arg(JOB).current_dir(tree::root()).env("PATH", path);
    job.env("DMABUFIO_TEST_DIR", run.path()).env("DMABUFIO_OUT", run.path());
    job.env("DMABUFIO_SOCKET", &socket).env("DMABUFIO_DEMO_MIB", EMBEDDED_MIB);
    job.stdin(Stdio::null());
    let mut job = Guarded::spawn(&mut job)?;
    let status = job.wait(None)?.context("a demo that never ends")?;
    if let Some(signal) = exec::interrupted() {
        bail!("interrupted by signal {signal} while the demo ran");
    }
    let ended = service.terminate(START_LIMIT)?;
    if !status.success() {
        bail!(
            "the demo {}\nthe service's log:\n{}",
            exec::describe(&status),
            exec::tail(&read(&log))
        );
    }
    match ended {
        Some(status) if status.success() => {}
        Some(status) => bail!(
            "the service {} on SIGTERM\nits log:\n{}",
            exec::describe(&status),
            exec::tail(&read(&log))
        ),
        None => bail!("the service did not end on SIGTERM\nits log:\n{}", exec::tail(&read(&log))),
    }
    println!("\n== What was seen");
    println!("heap       memfd, the embedded heap: ordinary memory of this host, no dma-buf heap and no RW_FILE");
    println!("transport  binder RPC over a Unix socket");
    println!("result     loaded, verified, saved, and the copy is equal to the file");
    println!("time       {}", exec::elapsed(start.elapsed()));
    println!("the real thing, on the patched kernel: cargo xtask run");
    Ok(())
}

fn wait_for(service: &mut Guarded, socket: &Path, log: &Path) -> Result<()> {
    let start = Instant::now();
    while !socket.exists() {
        if let Some(status) = service.wait(Some(Duration::from_millis(20)))? {
            bail!(
                "dmabufio-service {} instead of serving; its log:\n{}",
                exec::describe(&status),
                exec::tail(&read(log))
            );
        }
        if start.elapsed() > START_LIMIT {
            bail!(
                "dmabufio-service opened no socket in {}; its log:\n{}",
                exec::elapsed(START_LIMIT),
                exec::tail(&read(log))
            );
        }
    }
    Ok(())
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

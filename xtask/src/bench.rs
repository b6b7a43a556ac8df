//! `cargo xtask bench`: measures the figures of `docs/performance.md` and judges the targets.
//!
//! Boots twice: with the full speed of QEMU's disk, and with a limit that gives disk and buffered
//! reading the ratio of the published phone. `vm/jobs/bench.sh` has the measurements.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{bail, ensure, Context, Result};
use xtask::failure::Unavailable;
use xtask::{cargo, exec, packages, tree};

use crate::kernel::{self, Base, Flavour};
use crate::vm::{self, Bus, Fs, Options};

mod markdown;
mod plot;
mod report;
mod targets;

use report::{Bench, Machine, Session};

const JOB: &str = "vm/jobs/bench.sh";
/// The disk rate over the rate of buffered reading in the published test: 4000 MB/s of UFS 4.0, and
/// 1 GiB in 1068 ms.
const DISK_OVER_BUFFERED: f64 = 3.9;
/// The default folder for the results.
const OUT: &str = "target/bench";
/// The folder of the published figures and plots.
const PUBLISHED: &str = "docs/performance";

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Less data and fewer sizes, enough for the targets; 15 to 25 minutes
    #[arg(long)]
    quick: bool,
    /// Folder for bench.json, figures.md and the plots [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Copy figures.md and the plots to docs/performance
    #[arg(long)]
    update: bool,
}

/// Runs the benchmark; 1 if a target was missed.
pub fn run(args: &Args) -> Result<u8> {
    let start = Instant::now();
    packages::ensure().context(Unavailable("the yardstick fio could not be had"))?;
    let programs = [cargo::release()?];
    let out = args.out.clone().unwrap_or_else(|| tree::root().join(OUT));
    let size = if args.quick { "quick" } else { "full" };

    let free = session(args, &programs, &out.join("free"), None, &format!("{size} free"))?;
    let limit = disk_limit(&free)?;
    let limited = out.join("limited");
    let limited = session(args, &programs, &limited, Some(limit), &format!("{size} limited"))?;

    let program = programs[0].join("dmabufio-service");
    let service_bytes =
        fs::metadata(&program).with_context(|| format!("looking at {}", program.display()))?.len();
    let bench = Bench {
        schema: report::SCHEMA,
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        commit: tree::commit(12)?,
        quick: args.quick,
        machine: machine(&out.join("free"))?,
        service_bytes,
        targets: targets::judge(&free, &limited, service_bytes),
        sessions: vec![free, limited],
    };
    write(&bench, &out)?;
    if args.update {
        publish(&out, &tree::root().join(PUBLISHED))?;
    }
    for target in &bench.targets {
        let met = if target.met { "pass" } else { "FAIL" };
        println!("{met}  {}  {}", target.id, target.what);
        println!("          {} (wanted {})", target.measured, target.wanted);
    }
    println!("{} after {}", out.join("figures.md").display(), exec::elapsed(start.elapsed()));
    Ok(u8::from(!bench.targets.iter().all(|target| target.met)))
}

/// One boot.
fn session(
    args: &Args,
    programs: &[PathBuf],
    out: &Path,
    disk_rate: Option<u64>,
    what: &str,
) -> Result<Session> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("removing {}", out.display()))?;
    }
    let options = Options {
        kernel: Flavour::Patched,
        base: Base::default(),
        disk: Bus::Ufs,
        fs: Fs::F2fs,
        // Buffers may take half of it, and the largest request is 4 GiB.
        memory: if args.quick { "5G" } else { "12G" }.to_owned(),
        module: true,
        heap: None,
        selinux: false,
        no_service: false,
        timeout: 90,
        disk_rate,
        one_arena: false,
        out: Some(out.to_owned()),
    };
    let outcome = vm::boot(&options, programs, &format!("sh {JOB} {what}"))?;
    let sound = vm::report(&outcome);
    ensure!(outcome.status == 0 && sound, "the job of the benchmark failed; see above");
    let mut reports = BTreeMap::new();
    for entry in fs::read_dir(out).with_context(|| format!("reading {}", out.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"))
        else {
            continue;
        };
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let report = serde_json::from_slice(&text)
            .with_context(|| format!("understanding {}", path.display()))?;
        reports.insert(name.to_owned(), report);
    }
    Ok(Session { disk_rate, reports })
}

/// The limit of the disk in bytes a second, from the measurement without a limit.
fn disk_limit(free: &Session) -> Result<u64> {
    let row = free.row("published", "dmabuf buffer read").context("the row of buffered reading")?;
    let read = row.figures.as_ref().and_then(|figures| figures.io.as_ref());
    let Some(read) = read else {
        bail!("reading through the page cache was not measured: {:?}", row.error);
    };
    Ok((row.bytes as f64 * 1e9 / read.median_nanos as f64 * DISK_OVER_BUFFERED) as u64)
}

fn machine(out: &Path) -> Result<Machine> {
    let read = |name: &str| -> Result<String> {
        let path = out.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let build = kernel::ensure(Base::default(), Flavour::Patched)?.dir;
    let memory = read("memory")?;
    let qemu = printed(Command::new("qemu-system-x86_64").arg("--version"))?;
    Ok(Machine {
        kernel: read("uname")?,
        kernel_build: build.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        cpu: read("cpu")?,
        cpus: thread::available_parallelism().map_or(1, usize::from),
        memory_kib: memory.split_whitespace().next().unwrap_or_default().parse()?,
        disk: "emulated UFS 4.0".to_owned(),
        file_system: "f2fs".to_owned(),
        qemu: qemu.lines().next().unwrap_or_default().to_owned(),
    })
}

fn printed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} {}", exec::describe(&output.status));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes bench.json, the figures and the plots.
fn write(bench: &Bench, out: &Path) -> Result<()> {
    let save = |name: &str, text: String| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    save("bench.json", format!("{}\n", serde_json::to_string_pretty(bench)?))?;
    save("figures.md", markdown::write(bench))?;
    plot::draw(bench, out)
}

/// Copies the figures and the plots in `out` to `docs`.
fn publish(out: &Path, docs: &Path) -> Result<()> {
    for entry in fs::read_dir(out).with_context(|| format!("reading {}", out.display()))? {
        let from = entry?.path();
        let Some(name) = from.file_name() else {
            continue;
        };
        if name == "figures.md" || from.extension().is_some_and(|extension| extension == "svg") {
            fs::copy(&from, docs.join(name))
                .with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

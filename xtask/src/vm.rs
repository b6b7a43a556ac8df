//! `cargo xtask vm`: runs a command as root in a phone-like VM with the service up, and returns its exit status.
//!
//! What happens inside is in `vm/guest.sh`; this side gets the parts (kernel, QEMU, tools, programs), makes a fresh
//! disk, boots, and sees to it that nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use xtask::cache::RunDir;
use xtask::exec::{self, quote};
use xtask::failure::Unavailable;
use xtask::{cargo, policy, tree};

use crate::kernel::{self, Base, Flavour};

mod boot;
mod disk;
pub mod tools;

pub use boot::Outcome;
pub use disk::{Bus, Fs};
use kernel::Kernel;
use tools::Tools;

/// For the C library, with `--one-arena`: one area of memory for all threads, and no store of freed pieces in each thread. Also in
/// `tests/support/left.rs`.
const ONE_ARENA: &str = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0";

/// Where the disk is mounted in the guest; also in `vm/mounts`.
pub const TEST_DIR: &str = "/run/dmabufio/disk";

/// Which heap the service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Heap {
    /// The kernel's system heap
    System,
    /// The heap of kernel/module
    SystemDirect,
    /// memfd under udmabuf
    Udmabuf,
    /// memfd alone
    Memfd,
}

/// What kind of VM.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which kernel
    #[arg(long, default_value = "patched")]
    pub kernel: Flavour,
    /// The series that the kernel is made from
    #[arg(long, default_value = "6.12")]
    pub base: Base,
    /// What the test disk is attached to
    #[arg(long, default_value = "ufs")]
    pub disk: Bus,
    /// What the test disk is formatted with
    #[arg(long, default_value = "f2fs")]
    pub fs: Fs,
    /// The guest's memory
    #[arg(long, default_value = "4G")]
    pub memory: String,
    /// Load kernel/module
    #[arg(long)]
    pub module: bool,
    /// Which heap the service uses; its own choice unless given
    #[arg(long)]
    pub heap: Option<Heap>,
    /// Enforce the SELinux policy: the service in its own domain, the command in su
    #[arg(long)]
    pub selinux: bool,
    /// Start neither service manager nor service
    #[arg(long)]
    pub no_service: bool,
    /// End the VM after that many minutes
    #[arg(long, default_value = "30")]
    pub timeout: u64,
    /// Limit the test disk to that many bytes a second
    #[arg(long)]
    pub disk_rate: Option<u64>,
    /// Give malloc one area for all threads: its size shows what leaks
    #[arg(long)]
    pub one_arena: bool,
    /// A folder on this host that the guest sees as $DMABUFIO_OUT and may write to
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Arguments of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// The command, run as root in the guest
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command and returns its exit status.
pub fn run(args: &Args) -> Result<u8> {
    let words: Vec<String> = args.command.iter().map(|word| quote(word)).collect();
    let programs = programs(&args.options)?;
    Ok(status(&boot(&args.options, &programs, &words.join(" "))?))
}

/// The exit status of a command in the VM, or 1 where the command alone succeeded.
pub fn status(outcome: &Outcome) -> u8 {
    let sound = report(outcome);
    match u8::try_from(outcome.status).unwrap_or(u8::MAX) {
        0 if !sound => 1,
        status => status,
    }
}

/// Says on standard error what went wrong beside the command; false if anything did.
pub fn report(outcome: &Outcome) -> bool {
    if let Some(status) = outcome.service.filter(|status| *status != 0) {
        eprintln!("error: the service ended with status {status} on SIGTERM, not 0");
    }
    for line in &outcome.complaints {
        eprintln!("error: the kernel complained: {line}");
    }
    outcome.service.unwrap_or(0) == 0 && outcome.complaints.is_empty()
}

/// The folder of the product's programs, built unless they are fresh; none with `--no-service`, where the product need
/// not even compile.
pub fn programs(options: &Options) -> Result<Vec<PathBuf>> {
    if options.no_service {
        return Ok(Vec::new());
    }
    Ok(vec![cargo::release()?])
}

/// Boots, runs the shell script `script` there with `programs` in its search path, and says how it went.
pub fn boot(options: &Options, programs: &[PathBuf], script: &str) -> Result<Outcome> {
    let ready = || anyhow::Ok((tools::ensure()?, kernel::ensure(options.base, options.kernel)?));
    let (tools, kernel) = ready().context(Unavailable("the VM could not be made ready"))?;
    let module =
        options.module.then(|| kernel::module::ensure(options.base, options.kernel, &kernel));
    let module = module.transpose()?;
    start(options, &tools, &kernel, module.as_deref(), programs, script)
        .context(Unavailable("the VM could not do its job"))
}

fn start(
    options: &Options,
    tools: &Tools,
    kernel: &Kernel,
    module: Option<&Path>,
    programs: &[PathBuf],
    script: &str,
) -> Result<Outcome> {
    let run = RunDir::new()?;
    let disk = disk::Disk::new(run.path(), options.disk, options.fs)?;
    let out = match &options.out {
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
            dir.canonicalize().with_context(|| format!("finding {}", dir.display()))?
        }
        None => run.path().join("out"),
    };
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;

    let path = exec::path_with(&[slice::from_ref(&tools.hub), programs].concat());
    // What the service is expected to choose, where it chooses.
    let heap = options.heap.unwrap_or(match (options.kernel, module) {
        (Flavour::Stock, Some(_)) => Heap::SystemDirect,
        _ => Heap::System,
    });
    let heap = heap.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let patched = if options.kernel == Flavour::Stock { "stock" } else { "patched" };
    let plan = [
        ("PATH", path.to_string_lossy().as_ref()),
        ("DMABUFIO_TEST_DIR", TEST_DIR),
        ("DMABUFIO_OUT", &out.to_string_lossy()),
        ("DMABUFIO_KERNEL", patched),
        ("DMABUFIO_MODULES", &kernel.dir.join("modules").to_string_lossy()),
        ("DMABUFIO_MODULE", &module.unwrap_or(Path::new("")).to_string_lossy()),
        ("DMABUFIO_FS", &options.fs.to_string()),
        ("DMABUFIO_DISK", &options.disk.to_string()),
        ("DMABUFIO_DEVICE", disk.device()),
        ("DMABUFIO_HEAP", &heap),
        ("DMABUFIO_CHOOSES_HEAP", if options.heap.is_none() { "1" } else { "0" }),
        ("DMABUFIO_SELINUX", if options.selinux { "1" } else { "0" }),
        ("DMABUFIO_SERVICE", if options.no_service { "0" } else { "1" }),
    ]
    .map(|(name, value)| format!("export {name}={}\n", quote(value)));
    let malloc = match options.one_arena {
        true => format!("export GLIBC_TUNABLES={ONE_ARENA}\n"),
        false => String::new(),
    };
    fs::write(run.path().join("plan"), plan.concat() + &malloc)
        .context("writing the plan of the run")?;
    fs::write(run.path().join("command"), format!("{script}\n"))
        .context("writing the command of the run")?;

    if options.selinux {
        policy::for_vm(run.path()).context("making the SELinux policy of the VM")?;
    }

    let guest = tree::root().join("vm/guest.sh");
    let image = kernel.image();
    // The policy comes with the guest's script, which enforces it once it has labelled the files.
    let selinux: &[&str] = if options.selinux { &["selinux=1", "enforcing=0"] } else { &[] };
    let mut machine = boot::Machine {
        virtme_run: &tools.virtme_run,
        image: &image,
        memory: &options.memory,
        kvm: false,
        kernel: &[selinux, disk.kernel_args()].concat(),
        qemu: disk.qemu_args(options.disk_rate),
        shared: vec![run.path().to_owned(), out.clone()],
        script: format!(
            "{} {}",
            quote(&guest.to_string_lossy()),
            quote(&run.path().to_string_lossy())
        ),
        run: run.path(),
        path: exec::path_with(&[]),
    };
    machine.kvm = boot::kvm_works(&machine);
    exec::say(&format!(
        "booting the {} kernel {}{} with {} on {}{}{}",
        options.kernel,
        options.base,
        if options.module { " and the module" } else { "" },
        options.fs,
        options.disk,
        if options.selinux { ", SELinux enforcing" } else { "" },
        if machine.kvm { "" } else { " (software emulation)" }
    ));
    machine.run(Duration::from_secs(options.timeout * 60))
}

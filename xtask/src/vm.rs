//! `cargo xtask vm`: runs a command as root in a phone-like VM with the service up, and returns its exit status.
//!
//! What happens inside is in `vm/guest.sh`; this side gets the parts (kernel, QEMU, tools, programs), makes a fresh
//! disk, boots, and sees to it that nothing is left behind.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cache::RunDir;
use crate::exec::{self, quote};
use crate::failure::Unavailable;
use crate::kernel::{self, Flavour};
use crate::{aosp::policy, cargo, tree};

mod boot;
mod disk;
pub mod tools;

pub use boot::Outcome;
pub use disk::{Bus, Fs};

/// Where the disk is mounted in the guest; also in `vm/mounts`.
pub const TEST_DIR: &str = "/run/dmabufio/disk";

/// Which heap the service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Heap {
    /// The kernel's system heap
    System,
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
    /// What the test disk is attached to
    #[arg(long, default_value = "ufs")]
    pub disk: Bus,
    /// What the test disk is formatted with
    #[arg(long, default_value = "f2fs")]
    pub fs: Fs,
    /// The guest's memory
    #[arg(long, default_value = "4G")]
    pub memory: String,
    /// Which heap the service uses
    #[arg(long, default_value = "system")]
    pub heap: Heap,
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
    let outcome = boot(&args.options, programs.as_deref(), &words.join(" "))?;
    let sound = report(&outcome);
    match u8::try_from(outcome.status).unwrap_or(u8::MAX) {
        0 if !sound => Ok(1),
        status => Ok(status),
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

/// Gets everything ready that a boot with these options needs, except the disk.
pub fn prepare(options: &Options) -> Result<Parts> {
    let ready = || -> Result<Parts> {
        let tools = tools::ensure(options.disk == Bus::Ufs)?;
        let kernel = kernel::ensure(options.kernel)?;
        Ok(Parts { tools, kernel })
    };
    ready().context(Unavailable("the VM could not be made ready"))
}

/// What [`prepare`] got.
#[derive(Debug)]
pub struct Parts {
    tools: tools::Tools,
    kernel: kernel::Kernel,
}

/// The folder of the product's programs, built unless they are fresh; none with `--no-service`, where the product need
/// not even compile.
pub fn programs(options: &Options) -> Result<Option<PathBuf>> {
    if options.no_service {
        return Ok(None);
    }
    cargo::release().map(Some)
}

/// Boots, runs the shell script `script` there, and says how it went.
pub fn boot(options: &Options, programs: Option<&Path>, script: &str) -> Result<Outcome> {
    let parts = prepare(options)?;
    start(options, &parts, programs, script).context(Unavailable("the VM could not do its job"))
}

fn start(
    options: &Options,
    parts: &Parts,
    programs: Option<&Path>,
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

    let mut bins: Vec<&Path> = vec![&parts.tools.hub];
    bins.extend(programs);
    let path = path_with(&bins);
    let heap =
        options.heap.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let kernel = match options.kernel {
        Flavour::Stock => "stock",
        Flavour::Patched | Flavour::Debug => "patched",
    };
    let text = [out.to_string_lossy(), path.to_string_lossy(), parts.kernel.dir.to_string_lossy()];
    let (disk_name, fs_name) = (options.disk.to_string(), options.fs.to_string());
    let modules = format!("{}/modules", text[2]);
    let plan = [
        ("PATH", &*text[1]),
        ("DMABUFIO_TEST_DIR", TEST_DIR),
        ("DMABUFIO_OUT", &*text[0]),
        ("DMABUFIO_KERNEL", kernel),
        ("DMABUFIO_MODULES", &modules),
        ("DMABUFIO_FS", &fs_name),
        ("DMABUFIO_DISK", &disk_name),
        ("DMABUFIO_DEVICE", disk.device()),
        ("DMABUFIO_HEAP", &heap),
        ("DMABUFIO_SELINUX", if options.selinux { "1" } else { "0" }),
        ("DMABUFIO_SERVICE", if options.no_service { "0" } else { "1" }),
    ];
    let exports: String =
        plan.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
    fs::write(run.path().join("plan"), exports).context("writing the plan of the run")?;
    fs::write(run.path().join("command"), format!("{script}\n"))
        .context("writing the command of the run")?;

    if options.selinux {
        policy::for_vm(run.path()).context("making the SELinux policy of the VM")?;
    }

    let guest = tree::root().join("vm/guest.sh");
    let image = parts.kernel.image();
    let mut machine = boot::Machine {
        virtme_run: &parts.tools.virtme_run,
        image: &image,
        memory: &options.memory,
        kvm: false,
        // The policy comes with the guest's script, which enforces it once it has labelled the files.
        kernel: if options.selinux { &["selinux=1", "enforcing=0"] } else { &[] },
        qemu: disk.qemu_args(options.disk_rate),
        shared: vec![run.path().to_owned(), out.clone()],
        script: format!(
            "{} {}",
            quote(&guest.to_string_lossy()),
            quote(&run.path().to_string_lossy())
        ),
        run: run.path(),
        path: path_with(&[]),
    };
    machine.kvm = boot::kvm_works(&machine);
    exec::say(&format!(
        "booting the {} kernel with {} on {}{}{}",
        options.kernel,
        options.fs,
        options.disk,
        if options.selinux { ", SELinux enforcing" } else { "" },
        if machine.kvm { "" } else { " (software emulation)" }
    ));
    machine.run(Duration::from_secs(options.timeout * 60))
}

/// Our search path with `first` in front and the system's folders at the end.
pub fn path_with(first: &[&Path]) -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let all = first.iter().map(|dir| (*dir).to_owned()).chain(env::split_paths(&own)).chain(system);
    // A folder whose name cannot stand in a search path cannot have come from one.
    env::join_paths(all).unwrap_or(own)
}

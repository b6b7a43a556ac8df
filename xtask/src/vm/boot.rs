//! One boot: starts virtme-ng, waits for its end, and reads the result from the files of the guest.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Error, Result};
use xtask::cache;
use xtask::exec::{self, Guarded};

/// The time from power-on to the first output of the guest. 4 to 15 s under software emulation,
/// minutes on a crowded machine.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// The time from the end of the command to power-off.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// How the guest mounts the host's root: as virtme-ng does, and with a cache that expects no change.
const ROOT_FLAGS: &str =
    "rootflags=version=9p2000.L,trans=virtio,access=any,msize=524288,cache=loose";
/// The CPU in software emulation. With ERMS the kernel clears pages with `rep stosb`, and with FSRM
/// it copies to and from programs with `rep movsb`, which the emulation executes byte by byte.
/// Without both it uses plain loads and stores, and clearing and copying a page have the cost ratio
/// of a phone. The emulation computes the instruction for CRC-32C bit by bit; without it, programs
/// use tables.
const CPU: &str = "max,erms=off,fsrm=off,sse4.2=off";
/// The messages of the kernel about its own mistakes, or about the end of a check for them, and the
/// denials of an enforcing SELinux. Lockdep and the checks of the DMA API report mistakes with
/// `WARNING:`; their other messages are not complaints.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "KASAN:",
    "UBSAN:",
    "possible circular locking",
    "INFO: task",
    "possible recursive locking",
    "suspicious RCU usage",
    "refcount_t:",
    "DMA-API: debugging out of memory",
    "dma-debug disabled",
    "trying to register non-static key",
    "permissive=0",
    "printk limit exceeded",
    "pagealloc:",
];
/// The name of threads that expect a denial of SELinux, which is then not a complaint.
const REFUSED: &str = "comm=\"refused\"";

/// The machine to boot.
#[derive(Debug)]
pub struct Machine<'a> {
    /// `virtme-run`.
    pub virtme_run: &'a Path,
    /// The kernel.
    pub image: &'a Path,
    /// In the syntax of QEMU.
    pub memory: &'a str,
    /// Hardware virtualisation.
    pub kvm: bool,
    /// Further arguments for the kernel.
    pub kernel: &'a [&'a str],
    /// Further arguments for QEMU.
    pub qemu: Vec<String>,
    /// Folders the guest may write to, at the same path as here.
    pub shared: Vec<PathBuf>,
    /// The script the guest runs, with its arguments.
    pub script: String,
    /// The folder of this run.
    pub run: &'a Path,
    /// The search path in the guest.
    pub path: OsString,
}

/// The result of a boot.
#[derive(Debug)]
pub struct Outcome {
    /// The command's exit status.
    pub status: i32,
    /// Exit status of the service after SIGTERM, if one was started.
    pub service: Option<i32>,
    /// The complaints of the kernel.
    pub complaints: Vec<String>,
}

impl Machine<'_> {
    /// Boots, lets the script run its command with our standard output and error, and waits for the power to go.
    pub fn run(&self, limit: Duration) -> Result<Outcome> {
        let console = self.run.join("console.log");
        let started = Instant::now();
        let mut vm = self.spawn(&console)?;
        let stdin = vm.child().stdin.take().context("the VM's standard input")?;
        forward_stdin(stdin, self.run.to_owned());
        // QEMU opens its standard output anew, and would truncate a file there.
        let stdout = vm.child().stdout.take().context("the VM's standard output")?;
        let stderr = vm.child().stderr.take().context("the VM's standard error")?;
        let copies = [forward(stdout, io::stdout()), forward(stderr, io::stderr())];
        let end = loop {
            if let Some(status) = vm.wait(Some(Duration::from_millis(500)))? {
                break Some(status);
            }
            let booted = self.stage().is_some();
            if !booted && started.elapsed() > BOOT_LIMIT {
                vm.end();
                return Err(self.failed(
                    &console,
                    &format!("it gave no sign of life in {}", exec::elapsed(BOOT_LIMIT)),
                ));
            }
            if started.elapsed() > limit {
                vm.end();
                let why = format!("it was not done in {} (--timeout)", exec::elapsed(limit));
                return Err(self.failed(&console, &why));
            }
            if self.read("status").is_some() && self.age("status") > STOP_LIMIT {
                vm.end();
                break None;
            }
        };
        if let Some(signal) = exec::interrupted() {
            bail!("interrupted by signal {signal} while the VM ran");
        }
        for copy in copies {
            // The namespace is gone, and so are all writers. Show the rest of their output before
            // the next step.
            let _ = copy.join();
        }
        if let Some(reason) = self.read("reason") {
            return Err(self.failed(&console, reason.trim()));
        }
        let status = self.read("status").and_then(|text| text.trim().parse().ok());
        let Some(status) = status else {
            let how = end.map_or("hung".to_owned(), |end| match end.signal() {
                Some(_) => format!("its process {}", exec::describe(&end)),
                None => format!("virtme-run {}", exec::describe(&end)),
            });
            return Err(self.failed(&console, &how));
        };
        if end.is_none() {
            return Err(self.failed(&console, "the command ended but the guest did not power off"));
        }
        let service = self.read("service-status").and_then(|text| text.trim().parse().ok());
        let complaints = complaints(&fs::read(&console).unwrap_or_default());
        if !complaints.is_empty() {
            keep(&console)?;
        }
        Ok(Outcome { status, service, complaints })
    }

    fn spawn(&self, console: &Path) -> Result<Guarded> {
        let mut command = exec::contained(self.virtme_run);
        command.arg("--kimg").arg(self.image).args([
            "--mods",
            "none",
            "--force-9p",
            "--memory",
            self.memory,
        ]);
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        command.args(["--cpus", &cpus.to_string()]);
        let mut cpu = Vec::new();
        if !self.kvm {
            // The kernel's boot-time check of the timer counts ticks, and an emulated CPU on a busy host may miss them.
            command.args(["--disable-kvm", "-a", "no_timer_check"]);
            cpu.extend(["-cpu", CPU].map(str::to_owned));
        }
        for dir in &self.shared {
            command.arg(format!("--rwdir={}", dir.display()));
        }
        for arg in self.kernel {
            command.args(["-a", arg]);
        }
        // The guest cannot change the host's files, so that it may keep what it has read of them: 9p
        // takes longer to start a program than the program takes.
        command.args(["-a", ROOT_FLAGS]);
        // virtme-ng sends the kernel's console to /dev/null. Keep it instead, from the first line
        // on.
        command.args(["-a", "ignore_loglevel", "--script-sh", &self.script, "--qemu-opts"]);
        command
            .arg("-set")
            .arg(format!("chardev.console.path={}", console.display()))
            .args(cpu)
            .args(&self.qemu);
        command.env("PATH", &self.path).env("TMPDIR", self.run);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Guarded::spawn(&mut command)
    }

    fn stage(&self) -> Option<String> {
        self.read("stage")
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.run.join(name)).ok().filter(|text| !text.is_empty())
    }

    fn age(&self, name: &str) -> Duration {
        let written = fs::metadata(self.run.join(name)).and_then(|meta| meta.modified()).ok();
        written.and_then(|time| time.elapsed().ok()).unwrap_or_default()
    }

    fn failed(&self, console: &Path, why: &str) -> Error {
        let stage = self.stage().map_or("booting".to_owned(), |stage| stage.trim().to_owned());
        let log = fs::read(console).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).replace('\r', "");
        let place = match keep(console) {
            Ok(path) => format!("console log: {}", path.display()),
            Err(error) => format!("its console log could not be kept: {error:#}"),
        };
        let complained: String = complaints(log.as_bytes())
            .iter()
            .map(|line| format!("\nthe kernel complained: {line}"))
            .collect();
        anyhow!(
            "the VM failed while {stage}: {why}{complained}\n{place}\nits last lines:\n{}",
            exec::tail(&log)
        )
    }
}

/// Moves a console log to a place that survives this run.
fn keep(console: &Path) -> Result<PathBuf> {
    let kept = cache::subdir("logs")?.join(format!("console-{}.log", process::id()));
    fs::copy(console, &kept)
        .with_context(|| format!("copying {} to {}", console.display(), kept.display()))?;
    Ok(kept)
}

/// Copies our standard input to the VM's. Starts when the command runs: a pipe that is closed
/// before the guest listens loses its data.
fn forward_stdin(mut to: ChildStdin, run: PathBuf) {
    thread::spawn(move || {
        while fs::read_to_string(run.join("stage"))
            .map_or(true, |stage| !stage.contains("running the command"))
        {
            if !run.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        // This copy normally ends when the other end goes away.
        let _ = io::copy(&mut io::stdin(), &mut to);
        let _ = to.flush();
    });
}

/// Copies from a pipe of the VM to one of our outputs, without a delay.
fn forward(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // Nobody listens any more: the VM must not block for that.
            let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
        }
    })
}

fn complaints(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log)
        .lines()
        .filter(|line| COMPLAINTS.iter().any(|word| line.contains(word)))
        .filter(|line| !line.contains(REFUSED))
        .map(|line| line.trim().to_owned())
        .take(20)
        .collect()
}

/// Whether a VM really boots with hardware virtualisation: a device node alone does not prove it.
/// Tried once for each boot of this machine.
pub fn kvm_works(machine: &Machine) -> bool {
    if File::open("/dev/kvm").is_err() {
        return false;
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let Ok(mark) = cache::subdir("kvm").map(|dir| dir.join(boot_id.trim())) else {
        return false;
    };
    if let Ok(known) = fs::read_to_string(&mark) {
        return known == "works";
    }
    exec::say("trying whether this machine's KVM boots a kernel");
    let works = try_kvm(machine).unwrap_or(false);
    eprintln!(
        "    {}",
        if works { "it does" } else { "it does not: going on with software emulation" }
    );
    if exec::interrupted().is_none() {
        let _ = fs::write(&mark, if works { "works" } else { "does not" });
    }
    works
}

fn try_kvm(machine: &Machine) -> Result<bool> {
    let mark = machine.run.join("kvm-booted");
    let probe = Machine {
        kvm: true,
        memory: "512M",
        qemu: Vec::new(),
        shared: vec![machine.run.to_owned()],
        script: format!("touch {}", exec::quote(&mark.to_string_lossy())),
        path: machine.path.clone(),
        ..*machine
    };
    let mut vm = probe.spawn(&machine.run.join("kvm.log"))?;
    let ended = vm.wait(Some(Duration::from_secs(30)))?.is_some();
    Ok(ended && mark.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found_and_nothing_else() {
        let log = b"[ 0.1] Linux version\n[ 1.0] WARNING: CPU: 0 at x.c:1\n[ 1.1] BUG: KASAN: use-after-free\n";
        assert_eq!(complaints(log).len(), 2);
        assert!(complaints(b"[ 0.1] debug: all fine\n").is_empty());
    }

    #[test]
    fn banners_of_the_debug_kernel_are_no_complaints() {
        let log = b"\
[    0.000000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    0.006000] kasan: KernelAddressSanitizer initialized (generic)
[    0.441730] DMA-API: preallocated 65536 debug entries
[    0.441730] DMA-API: debugging enabled by kernel config
[    9.120000] DMA-API: dma_debug_entry pool grown to 131072 (200%)
";
        assert_eq!(complaints(log), [""; 0]);
    }

    #[test]
    fn reports_of_the_debug_kernel_are_complaints() {
        for report in [
            "WARNING: CPU: 1 PID: 77 at kernel/dma/debug.c:1128 check_unmap+0x5b7/0x9a0",
            "WARNING: possible circular locking dependency detected",
            "WARNING: possible recursive locking detected",
            "WARNING: inconsistent lock state",
            "WARNING: lock held when returning to user space!",
            "WARNING: suspicious RCU usage",
            "BUG: KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE+0x123/0x160",
            "BUG: sleeping function called from invalid context at mm/util.c:1",
            "BUG: MAX_LOCKDEP_CHAINS too low!",
            "UBSAN: shift-out-of-bounds in fs/x.c:1:1",
            "INFO: task rw_file:77 blocked for more than 120 seconds.",
            "DMA-API: debugging out of memory - disabling",
            "DMA-API: cacheline tracking ENOMEM, dma-debug disabled",
            "INFO: trying to register non-static key.",
            "pagealloc: memory corruption",
            "pagealloc: single bit error",
        ] {
            let log = format!("[    1.0] Linux version\n[    9.1] {report}\n");
            assert_eq!(complaints(log.as_bytes()), [format!("[    9.1] {report}")]);
        }
    }

    #[test]
    fn denials_are_complaints_unless_provoked() {
        let log = b"\
audit: avc:  denied  { use } for  pid=9 comm=\"binder:9_1\" tclass=fd permissive=0
audit: avc:  denied  { call } for  pid=9 comm=\"refused\" tclass=binder permissive=0
";
        assert_eq!(complaints(log).len(), 1);
    }
}

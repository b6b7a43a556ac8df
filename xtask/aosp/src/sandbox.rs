//! A small Debian of a later suite, in the cache: it has AOSP's AIDL compiler and a Rust that can check for Android.
//!
//! Programs in it see only its own files, so the checks copy their input in and their output out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use xtask::exec::{self, Step};
use xtask::{cache, packages, tree};

/// The suite of Debian whose AIDL compiler has a Rust back end.
const SUITE: &str = "sid";

/// Goes up when the installed packages change.
const GENERATION: u32 = 1;

/// A root file system to run programs in.
pub struct Sandbox {
    root: PathBuf,
    /// The folder of this clone of the tree, as a path inside: other clones may run at the same
    /// time.
    work: String,
    _lock: cache::Lock,
}

impl Sandbox {
    /// With AOSP's AIDL compiler.
    pub fn with_aidl() -> Result<Self> {
        Self::open("aidl", &["aidl"])
    }

    /// With a Rust toolchain that can build std.
    pub fn with_rust() -> Result<Self> {
        Self::open("rust", &["rustc", "cargo", "rust-src"])
    }

    fn open(name: &str, wanted: &[&str]) -> Result<Self> {
        let dest = cache::subdir("aosp")?.join(format!("{SUITE}-{name}-{GENERATION}"));
        let root = cache::publish(&dest, |stage| create(stage, wanted))?;
        let key = tree::key([tree::root().to_string_lossy().as_ref()]);
        let lock = cache::lock(&format!("aosp-{name}-{key}"))?;
        let work = format!("/srv/{key}");
        fs::create_dir_all(root.join(&work[1..]))?;
        Ok(Sandbox { root, work, _lock: lock })
    }

    /// The folder of this clone, as a path of the host.
    pub fn work(&self) -> PathBuf {
        self.root.join(&self.work[1..])
    }

    /// A command that runs `program` inside, in this clone's own folder.
    pub fn command(&self, program: &str) -> Command {
        let mut command = exec::command("chroot");
        command.arg(&self.root).args(["/usr/bin/env", "-i", "-C", &self.work]);
        command.args(["PATH=/usr/bin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]).arg(program);
        command
    }
}

fn create(root: &Path, wanted: &[&str]) -> Result<()> {
    packages::ensure()?;
    let mirror = packages::mirror()?;
    let what = wanted.join(", ");
    let mut bootstrap = exec::command("debootstrap");
    bootstrap.args(["--variant=minbase", SUITE]).arg(root).arg(&mirror);
    bootstrap.env("PATH", sbin_path());
    Step::new(format!("making a small Debian {SUITE} for {what} (once)"))
        .hint(
            "the archive that apt uses must be reachable, and making a root file system needs root",
        )
        .progress(|line| line.strip_prefix("I: ").map(str::to_owned))
        .run(&mut bootstrap)?;
    let mut apt = exec::command("chroot");
    apt.arg(root).args([
        "/usr/bin/env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C.UTF-8",
    ]);
    apt.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-ec"]);
    // The suite moves all the time, and a mirror may lag behind the date in its release file.
    apt.arg(format!(
        "apt-get -q -o Acquire::Check-Valid-Until=false update\n\
         apt-get -q install --yes --no-install-recommends {}\n\
         apt-get clean",
        wanted.join(" ")
    ));
    Step::new(format!("installing {what} in it (once)")).run(&mut apt)
}

/// debootstrap lives in an sbin, which the PATH of a plain user does not have.
fn sbin_path() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

/// Copies a folder with all it holds.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let output =
        Command::new("cp").arg("-a").arg(from.join(".")).arg(to).output().context("starting cp")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Makes `dir` an empty folder.
pub fn empty_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))
}

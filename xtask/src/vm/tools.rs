//! What the VM needs besides a kernel: QEMU with a UFS device, virtme-ng, the service manager, file system tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::exec::{self, Step};
use crate::{cache, packages};

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";
/// The first version with a UFS device that does multi-circular queues as UFS 4.0 has them.
const QEMU_MAJOR: u32 = 10;
const VIRTME: &str = "1.42";
const RSBINDER_TOOLS: &str = "0.12.0";
/// `udev`: the guest's init needs it to find the ports that carry the command's input, output and exit status. From
/// `xfsprogs`, tests take the command that encrypts a folder.
const PACKAGES: &[&str] = &[
    "e2fsprogs",
    "dmsetup",
    "erofs-utils",
    "f2fs-tools",
    "fsverity",
    "kmod",
    "python3",
    "python3-venv",
    "udev",
    "util-linux",
    "xfsprogs",
];

/// Where the tools are.
#[derive(Debug)]
pub struct Tools {
    /// The program of virtme-ng that boots.
    pub virtme_run: PathBuf,
    /// The folder of `rsb_hub` and `rsb_service`.
    pub hub: PathBuf,
}

/// Installs what is missing.
pub fn ensure(ufs: bool) -> Result<Tools> {
    packages()?;
    qemu(ufs)?;
    Ok(Tools { virtme_run: virtme()?, hub: hub()? })
}

/// Installs the packages.
pub fn packages() -> Result<()> {
    packages::ensure(PACKAGES).context("getting the VM's tools")
}

/// Installs an emulator, with a UFS device if asked for.
pub fn qemu(ufs: bool) -> Result<()> {
    if has_device("ufs") || (!ufs && has_device("virtio-blk-pci")) {
        return Ok(());
    }
    packages::ensure_lists()?;
    let package = "qemu-system-x86";
    let offered = packages::candidate(package)?;
    if offered.as_deref().and_then(major).is_some_and(|major| major >= QEMU_MAJOR) {
        packages::ensure(&[package])?;
    }
    if !has_device("ufs") {
        packages::ensure_from(&format!("{}-backports", packages::codename()?), &[package])
            .context("getting a QEMU that emulates UFS")?;
    }
    if !has_device("ufs") {
        bail!(
            "{QEMU} has no device `ufs`, though {package} {} is installed\nnext: see whether another {QEMU} comes first \
             in PATH; it must be version {QEMU_MAJOR} or later. `--disk virtio` does without",
            packages::installed(package)?.unwrap_or_default()
        );
    }
    Ok(())
}

fn has_device(name: &str) -> bool {
    let Ok(output) = Command::new(QEMU).args(["-device", "help"]).output() else {
        return false;
    };
    String::from_utf8_lossy(&output.stdout).contains(&format!("name \"{name}\""))
}

/// The major number of a Debian version.
fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Installs virtme-ng and returns the program that boots.
pub fn virtme() -> Result<PathBuf> {
    let venv = cache::subdir("tools")?.join(format!("virtme-ng-{VIRTME}"));
    let program = venv.join("bin/virtme-run");
    if starts(&program) {
        return Ok(program);
    }
    let _lock = cache::lock("virtme-ng")?;
    if starts(&program) {
        return Ok(program);
    }
    // A virtual environment holds its own path, so it is made in place; that it starts says that it is complete.
    Step::new("making a Python environment for virtme-ng")
        .run(exec::command("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    Step::new(format!("installing virtme-ng {VIRTME}"))
        .hint("the Python package index must be reachable from this machine")
        .run(exec::command(venv.join("bin/pip")).args([
            "install",
            "--quiet",
            &format!("virtme-ng=={VIRTME}"),
        ]))?;
    if !starts(&program) {
        bail!("{} does not start; remove {} and try again", program.display(), venv.display());
    }
    Ok(program)
}

fn starts(program: &Path) -> bool {
    Command::new(program).arg("--help").output().is_ok_and(|output| output.status.success())
}

/// Builds the service manager and returns the folder of its programs.
pub fn hub() -> Result<PathBuf> {
    let dest = cache::subdir("tools")?.join(format!("rsbinder-tools-{RSBINDER_TOOLS}"));
    let dir = cache::publish(&dest, |stage| {
        let mut command = exec::command("cargo");
        command
            .args(["install", "--quiet", "--locked", "--version", RSBINDER_TOOLS, "--root"])
            .arg(stage);
        // Its build has nothing to share with the tree's.
        command.arg("rsbinder-tools").env_remove("CARGO_TARGET_DIR");
        Step::new(format!("building the service manager (rsbinder-tools {RSBINDER_TOOLS})"))
            .hint("the crate registry must be reachable from this machine")
            .run(&mut command)
    })?;
    Ok(dir.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_skips_the_epoch() {
        assert_eq!(major("1:10.0.2+ds-2+deb13u1~bpo12+1"), Some(10));
        assert_eq!(major("7.2+dfsg-7"), Some(7));
        assert_eq!(major("(none)"), None);
    }
}

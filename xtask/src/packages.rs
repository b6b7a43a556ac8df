//! The Debian packages that the commands need: one list and one script, `packages.sh`.

use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use rustix::process::geteuid;

use crate::cache;
use crate::exec::{self, Step};

const SCRIPT: &str = include_str!("packages.sh");

/// Installs missing packages.
pub fn ensure() -> Result<()> {
    ensure_with(&[])
}

/// Installs missing packages, with `more` that only some commands need.
pub fn ensure_with(more: &[&str]) -> Result<()> {
    let missing = ask("missing", more)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.split_whitespace().collect::<Vec<_>>().join(" ");
    if !geteuid().is_root() {
        bail!("missing on this machine: {names}\nnext: run this command as root, or install them by hand");
    }
    let _lock = cache::lock("apt")?;
    Step::new(format!("installing {names}"))
        .hint("`apt-get update` and `apt-get install` by hand say more; all sources in /etc/apt must be reachable")
        .run(script("install").args(more))
}

/// The address from which this machine gets Debian's main archive, as `debootstrap` takes it.
pub fn mirror() -> Result<String> {
    let mirror = ask("mirror", &[])?;
    ensure!(
        !mirror.is_empty(),
        "none of this machine's apt sources is the main archive of its Debian release"
    );
    Ok(mirror)
}

/// The installed version of a package.
pub fn version(package: &str) -> Result<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    let output = output.context("starting dpkg-query")?;
    ensure!(output.status.success(), "{package} is not installed");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Our death must not end it: dpkg would need a person to repair it.
fn script(verb: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "packages.sh", verb]).env("LC_ALL", "C");
    command
}

fn ask(verb: &str, more: &[&str]) -> Result<String> {
    let output = script(verb).args(more).output().context("starting sh")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "packages.sh {verb} {}; packages are only installed on Debian: {said}",
        exec::describe(&output.status)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn stub(dir: &Path, name: &str, text: &str) -> Result<()> {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }

    /// The calls of apt on a machine with these releases among its sources, whose QEMU has these
    /// options of `ufs`.
    fn asked(releases: &str, options: &str, more: &[&str]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        stub(dir.path(), "dpkg-query", "exit 1")?;
        stub(dir.path(), "qemu-system-x86_64", &format!("echo '{options}'"))?;
        let answer = format!(
            "case $* in *REPO_URI*) echo mirror://debian ;; indextargets*) printf '{releases}' ;; *) echo \"$*\" >>{} ;; esac",
            log.display()
        );
        stub(dir.path(), "apt-get", &answer)?;
        // The suite is that of the release for which the project is made, whatever runs this test.
        let text = SCRIPT.replace("$(. /etc/os-release && echo \"$VERSION_CODENAME\")", "bookworm");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.path().display());
        let status = Command::new("/bin/sh")
            .args(["-c", &text, "sh", "install"])
            .args(more)
            .env("PATH", path)
            .status()?;
        ensure!(status.success());
        Ok(fs::read_to_string(log)?.lines().map(str::to_owned).collect())
    }

    #[test]
    fn backports_are_a_source_only_where_the_machine_lacks_them() -> Result<()> {
        let with_list =
            |calls: &[String]| calls.iter().any(|call| call.contains("Dir::Etc::SourceList="));
        let from_backports = |calls: &[String]| {
            calls
                .iter()
                .any(|call| call.contains("--target-release bookworm-backports qemu-system-x86"))
        };
        let bare = asked("bookworm\\n", "", &[])?;
        assert!(with_list(&bare) && from_backports(&bare), "{bare:#?}");
        let has = asked("bookworm\\nbookworm-backports\\n", "", &[])?;
        assert!(!with_list(&has) && from_backports(&has), "{has:#?}");
        let newer = asked("bookworm\\n", "mcq=<bool>", &[])?;
        assert!(!with_list(&newer) && !from_backports(&newer), "{newer:#?}");
        assert!(newer.last().is_some_and(|call| call.contains(" e2fsprogs ")), "{newer:#?}");
        Ok(())
    }

    #[test]
    fn further_packages_are_installed_once() -> Result<()> {
        let calls = asked("bookworm\\n", "mcq=<bool>", &["linux-source-6.1", "bison"])?;
        let install = format!("{} ", calls.last().context("no call of apt")?);
        for package in [" linux-source-6.1 ", " linux-source-6.12 ", " bison "] {
            assert_eq!(install.matches(package).count(), 1, "{package} in {install}");
        }
        Ok(())
    }
}

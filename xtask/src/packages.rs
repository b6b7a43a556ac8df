//! Installs the Debian packages that a step needs, from the sources this machine already uses.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use rustix::process::geteuid;

use crate::cache;
use crate::exec::{self, Step};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Installs those of `packages` that are missing.
pub fn ensure(packages: &[&str]) -> Result<()> {
    install(packages, None)
}

/// As [`ensure`], from `suite` (say `bookworm-backports`), which becomes a source of this machine if it is not one.
/// Installs the suite's version also over an older one.
pub fn ensure_from(suite: &str, packages: &[&str]) -> Result<()> {
    install(packages, Some(suite))
}

/// The address this machine gets Debian's main archive from, as `debootstrap` wants it.
pub fn mirror() -> Result<String> {
    let codename = codename()?;
    let targets = query(
        "apt-get",
        &[
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
    )?;
    main_mirror(&targets, &codename).with_context(|| {
        format!("none of this machine's apt sources is Debian {codename} main; add one to /etc/apt/sources.list.d")
    })
}

/// The code name of the Debian release this machine runs.
pub fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release")
        .context("reading /etc/os-release to learn the Debian release")?;
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    match (field("ID").as_deref(), field("VERSION_CODENAME")) {
        (Some("debian"), Some(codename)) => Ok(codename),
        (id, _) => bail!(
            "this machine runs {}, and packages are only installed on Debian; install by hand what the message above or `cargo xtask setup` names",
            id.unwrap_or("an unknown system")
        ),
    }
}

/// The version that a plain install would give, if there is one.
pub fn candidate(package: &str) -> Result<Option<String>> {
    Ok(parse_candidate(&query("apt-cache", &["policy", package])?))
}

/// The installed version, if it is installed.
pub fn installed(package: &str) -> Result<Option<String>> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Version}\n", package])
        .stderr(Stdio::null())
        .output()
        .context("asking dpkg-query what is installed; is this Debian?")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().find_map(|line| line.strip_prefix("installed ")).map(str::to_owned))
}

/// Updates apt's lists unless they were never absent, so that [`candidate`] knows something.
pub fn ensure_lists() -> Result<()> {
    let known = fs::read_dir("/var/lib/apt/lists")
        .map(|dir| {
            dir.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_Packages"))
        })
        .unwrap_or(false);
    if known {
        return Ok(());
    }
    need_root(&["the lists of apt"])?;
    update()
}

fn install(packages: &[&str], suite: Option<&str>) -> Result<()> {
    let missing = |name: &&&str| -> Result<bool> { Ok(installed(name)?.is_none()) };
    let wanted: Vec<&str> = match suite {
        // The caller looked at the version or the abilities of what is there, and found them wanting.
        Some(_) => packages.to_vec(),
        None => {
            let mut names = Vec::new();
            for name in packages {
                if missing(&name)? {
                    names.push(*name);
                }
            }
            names
        }
    };
    if wanted.is_empty() {
        return Ok(());
    }
    need_root(&wanted)?;
    let codename = codename()?;
    let _lock = cache::lock("apt")?;
    match suite {
        Some(suite) => add_suite(suite)?,
        None => ensure_lists()?,
    }
    let attempt = || {
        let mut command = apt_get();
        command.args(["install", "--yes", "--no-install-recommends"]);
        if let Some(suite) = suite {
            command.args(["--target-release", suite]);
        }
        Step::new(format!("installing {}", wanted.join(" ")))
            .hint(format!(
                "run `apt-get update && apt-get install {}` by hand and read what it says",
                wanted.join(" ")
            ))
            .run(command.args(&wanted))
    };
    let first = attempt();
    if first.is_ok() {
        return Ok(());
    }
    // Old lists name files that the archive no longer has.
    update()?;
    attempt().with_context(|| format!("Debian packages for {codename} could not be installed"))
}

fn need_root(packages: &[&str]) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "missing on this machine: {}; installing needs root\nnext: run this command as root, or `sudo apt-get install {}`",
        packages.join(" "),
        packages.join(" ")
    )
}

/// Makes `suite` of Debian's main archive a source of this machine, and knows its packages.
fn add_suite(suite: &str) -> Result<()> {
    let targets = query(
        "apt-get",
        &["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(FILENAME)", "Created-By: Packages"],
    )?;
    let configured = suite_lists(&targets, suite);
    if configured.is_empty() {
        let uri = mirror()?;
        let path = format!("/etc/apt/sources.list.d/dmabufio-{suite}.sources");
        fs::write(&path, source_entry(&uri, suite, Path::new(KEYRING).exists()))
            .with_context(|| format!("writing the apt source {path}"))?;
    } else if configured.iter().any(|list| Path::new(list).exists()) {
        return Ok(());
    }
    update()
}

fn source_entry(uri: &str, suite: &str, keyring: bool) -> String {
    let signed = if keyring { format!("Signed-By: {KEYRING}\n") } else { String::new() };
    format!("# Written by cargo xtask: a QEMU that emulates UFS.\nTypes: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n{signed}")
}

fn update() -> Result<()> {
    // apt waits for dpkg's lock when told to, but not for the lock on its lists.
    const TRIES: usize = 30;
    for left in (0..TRIES).rev() {
        let step = Step::new("updating apt's package lists")
            .hint("run `apt-get update` by hand; all sources in /etc/apt must be reachable from this machine");
        match step.run(apt_get().arg("update")) {
            Err(error) if left > 0 && format!("{error:#}").contains("Could not get lock") => {
                thread::sleep(Duration::from_secs(10));
            }
            // One unreachable source among several makes `update` fail although Debian's own lists arrived;
            // the install that follows is the judge.
            Err(error) if exec::interrupted().is_none() => {
                eprintln!("    {error:#}\n    going on with the lists there are");
                return Ok(());
            }
            done => return done,
        }
    }
    Ok(())
}

/// Not ended by our death: an install cut short leaves dpkg for a person to repair.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=900", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn query(program: &str, args: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(args).env("LC_ALL", "C").output().with_context(|| {
            format!(
                "starting {program} (PATH={:?}); packages are only installed on Debian",
                env::var_os("PATH")
            )
        })?;
    if !output.status.success() {
        bail!(
            "`{program} {}` {}: {}",
            args.join(" "),
            exec::describe(&output.status),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds the main archive in lines of "address release component".
fn main_mirror(targets: &str, codename: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (uri, release, component) = (words.next()?, words.next()?, words.next()?);
        let release = release.trim_end_matches('/');
        (matches!(release, "stable") || release == codename).then_some(())?;
        (component == "main").then(|| uri.trim_end_matches('/').to_owned())
    })
}

/// The list files of `suite` in lines of "address release file".
fn suite_lists(targets: &str, suite: &str) -> Vec<String> {
    targets
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_, release, file) = (words.next()?, words.next()?, words.next()?);
            (release.trim_end_matches('/') == suite).then(|| file.to_owned())
        })
        .collect()
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
mirror://other/x-security/ bookworm-security main
mirror://a/debian/ bookworm contrib
mirror://a/debian/ bookworm main
mirror://a/debian/ bookworm-updates main
mirror://b/nodes/ nodistro main
";

    #[test]
    fn mirror_is_the_release_itself_not_its_security_suite() {
        assert_eq!(main_mirror(TARGETS, "bookworm").as_deref(), Some("mirror://a/debian"));
        assert_eq!(main_mirror(TARGETS, "trixie"), None);
    }

    #[test]
    fn suite_is_matched_whole() {
        let targets = "mirror://a bookworm /l/a\nmirror://a bookworm-backports /l/b\n";
        assert_eq!(suite_lists(targets, "bookworm-backports"), ["/l/b"]);
        assert!(suite_lists(targets, "bookworm-back").is_empty());
    }

    #[test]
    fn absent_candidate_is_none() {
        assert_eq!(parse_candidate("qemu:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(
            parse_candidate("qemu:\n  Candidate: 1:10.0.2+ds\n").as_deref(),
            Some("1:10.0.2+ds")
        );
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn source_entry_has_what_apt_needs() {
        let entry = source_entry("mirror://a/debian", "bookworm-backports", true);
        for line in [
            "Types: deb",
            "URIs: mirror://a/debian",
            "Suites: bookworm-backports",
            "Components: main",
        ] {
            assert!(entry.lines().any(|have| have == line), "{line}");
        }
    }
}

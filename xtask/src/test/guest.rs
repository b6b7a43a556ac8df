//! The VM layer: the same test programs on both kernels, both buses and both file systems, and once more with SELinux
//! enforcing. All programs of one combination share one boot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use super::count::{cases, Case, Outcome};
use super::Table;
use crate::cache::RunDir;
use crate::cargo::Artifact;
use crate::exec::{self, Step};
use crate::failure::Unavailable;
use crate::kernel::{self, Flavour};
use crate::vm::{self, Bus, Fs, Heap, Options};
use crate::{cargo, tree};

/// The suite that runs everywhere: every method, both directions, against what the file system really does.
const EVERYWHERE: &str = "methods";
/// Tests that need the VM; cargo leaves them out of a plain `cargo test`.
const PREFIX: &str = "vm_";
/// Of those, the ones that make no sense without the ioctl.
const PATCHED: &str = "vm_patched";
/// Of those, the ones that make no sense without SELinux.
const SELINUX: &str = "vm_selinux";
/// Where the kernel patches' own tests are.
const SELFTESTS: &str = "kernel/selftests/dmabuf-rw-file";
/// How they are named here.
const SELFTEST: &str = "kernel_selftest_";
/// Of those, the one for a kernel without the ioctl.
const ABSENT: &str = "kernel_selftest_absent";

/// One program to run in the guest.
#[derive(Debug)]
struct Program {
    name: String,
    path: PathBuf,
    args: String,
}

/// Runs it.
pub fn run(table: &mut Table) {
    let start = Instant::now();
    let made = RunDir::new().and_then(|dir| {
        let selftests = selftests(dir.path())?;
        Ok((dir, tests()?, selftests, cargo::release()?))
    });
    let (dir, tests, selftests, product) = match made {
        Ok(made) => made,
        Err(error) => {
            table.row("vm", "building the programs", || Err(error));
            return;
        }
    };
    let what = "building the programs";
    table.add("vm", what, vec![Case::passed(what)], start.elapsed());

    let mut combinations = Vec::new();
    for kernel in [Flavour::Patched, Flavour::Stock] {
        for (disk, fs) in [
            (Bus::Ufs, Fs::F2fs),
            (Bus::Ufs, Fs::Ext4),
            (Bus::Virtio, Fs::F2fs),
            (Bus::Virtio, Fs::Ext4),
        ] {
            combinations.push((kernel, disk, fs, false));
        }
    }
    combinations.push((Flavour::Patched, Bus::Ufs, Fs::F2fs, true));

    for (kernel, disk, fs, selinux) in combinations {
        // The phone's own combination gets everything; on the others the methods are what differs.
        let whole = disk == Bus::Ufs && fs == Fs::F2fs;
        let programs: Vec<&Program> = tests
            .iter()
            .filter(|program| whole || program.name == EVERYWHERE)
            .filter(|program| kernel != Flavour::Stock || !program.name.starts_with(PATCHED))
            .filter(|program| selinux || !program.name.starts_with(SELINUX))
            .chain(
                selftests.iter().filter(|test| (test.name == ABSENT) == (kernel == Flavour::Stock)),
            )
            .collect();
        let label = if selinux { "-selinux" } else { "" };
        let options = Options {
            kernel,
            disk,
            fs,
            memory: "4G".into(),
            heap: Heap::System,
            selinux,
            no_service: false,
            timeout: 30,
            disk_rate: None,
            out: Some(dir.path().join(format!("{kernel}-{disk}-{fs}{label}"))),
        };
        combination(table, &options, &product, &programs);
    }
}

/// One boot and its lines of the table.
fn combination(table: &mut Table, options: &Options, product: &Path, programs: &[&Program]) {
    let Some(out) = options.out.as_deref() else {
        return;
    };
    if exec::interrupted().is_some() {
        return;
    }
    let Options { kernel, disk, fs, .. } = options;
    let selinux = if options.selinux { " selinux" } else { "" };
    let name = format!("{kernel} {disk}/{fs}{selinux}");
    let start = Instant::now();
    let outcome =
        list(out, programs).and_then(|()| vm::boot(options, Some(product), "sh vm/jobs/tests.sh"));
    let first = table.rows.len();
    let mut spent = Duration::ZERO;
    for program in programs {
        let (cases, time) = result(out, &program.name);
        if outcome.is_ok() || cases.iter().any(|case| case.outcome == Outcome::Passed) {
            table.add("vm", format!("{name}: {}", program.name), cases, time);
        }
        spent += time;
    }
    let left = start.elapsed().saturating_sub(spent);
    table.check("vm", format!("{name}: boot, service, kernel log"), || {
        let outcome = outcome?;
        ensure!(
            vm::report(&outcome),
            "the service ended with status {:?}, and the kernel complained: {}",
            outcome.service,
            outcome.complaints.join("\n")
        );
        Ok(())
    });
    if let Some(row) = table.rows.last_mut() {
        row.time = left;
    }
    for row in table.rows.iter_mut().skip(first) {
        row.properties = vec![
            ("kernel", kernel.to_string()),
            ("disk", disk.to_string()),
            ("fs", fs.to_string()),
            ("selinux", if options.selinux { "enforcing" } else { "off" }.to_owned()),
        ];
    }
}

/// Writes what the guest's job is to run.
fn list(out: &Path, programs: &[&Program]) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let lines: String = programs
        .iter()
        .map(|Program { name, path, args }| format!("{name} {} {args}\n", path.display()))
        .collect();
    fs::write(out.join("programs"), lines)
        .with_context(|| format!("writing {}", out.join("programs").display()))
}

/// What the guest's job left about one program.
fn result(out: &Path, name: &str) -> (Vec<Case>, Duration) {
    let read = |suffix: &str| {
        fs::read(out.join(format!("{name}.{suffix}")))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let output = read("log").unwrap_or_default();
    let number = |suffix: &str| read(suffix).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let cases = cases(&output, number("status") == Some(0));
    (cases, Duration::from_secs(number("seconds").unwrap_or(0)))
}

/// Builds the tests that run in the guest.
fn tests() -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (package, dir) in [("dmabufio", "tests"), ("dmabufio_command", "command/tests")] {
        let names = names(&tree::root().join(dir));
        if names.is_empty() {
            continue;
        }
        let mut args = vec!["test", "--no-run", "--package", package];
        for name in &names {
            args.extend(["--test", name]);
        }
        let built = cargo::build(&format!("building the tests of {package} for the VM"), &args)?;
        for name in &names {
            let Some(Artifact { path, .. }) =
                built.iter().find(|made| made.test && made.name == *name)
            else {
                bail!("cargo built no test program {name} of {package}; is it declared in its Cargo.toml?");
            };
            programs.push(Program { name: name.clone(), path: path.clone(), args: String::new() });
        }
    }
    if programs.is_empty() {
        bail!("there is neither tests/{EVERYWHERE}.rs nor a tests/{PREFIX}*.rs to run in the VM");
    }
    Ok(programs)
}

/// The names of the tests in `dir` that run in the guest.
fn names(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name == EVERYWHERE || name.starts_with(PREFIX))
        .collect()
}

/// Builds the kernel patches' own tests as the kernel's tree would. They use the folder that they are started in.
fn selftests(dir: &Path) -> Result<Vec<Program>> {
    let unavailable = Unavailable("the kernel's selftests could not be built");
    let harness = kernel::selftests().context(unavailable)?;
    let out = dir.join("selftests");
    fs::create_dir(&out).with_context(|| format!("creating {}", out.display()))?;
    let uapi = tree::root().join("kernel/uapi/dma-buf-rw-file.h");
    let mut make = exec::command("make");
    make.arg("-C")
        .arg(tree::root().join(SELFTESTS))
        .arg(format!("SELFTESTS={}", harness.display()))
        .arg(format!("OUTPUT={}", out.display()))
        .arg(format!("KHDR_INCLUDES=-include {}", uapi.display()))
        .arg("USERCFLAGS=-Werror");
    // Options of an outer make are not for this one.
    make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
    Step::new("building the kernel's selftests").run(&mut make)?;

    let mut programs = Vec::new();
    for entry in fs::read_dir(&out).with_context(|| format!("reading {}", out.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        programs.push(Program {
            name: format!("{SELFTEST}{name}"),
            path: "env".into(),
            args: format!("-C {} {}", vm::TEST_DIR, path.display()),
        });
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(programs.iter().any(|test| test.name == ABSENT), "{SELFTESTS} has no test `absent`");
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_for_the_guest_are_named() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["methods.rs", "service.rs", "vm_load.rs", "vm_notes.md"] {
            fs::write(dir.path().join(name), "")?;
        }
        let names: Vec<String> = names(dir.path()).into_iter().collect();
        assert_eq!(names, ["methods", "vm_load"]);
        Ok(())
    }

    #[test]
    fn program_without_a_result_failed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(result(dir.path(), "x").0, [Case::failed("the program as a whole", "")]);
        Ok(())
    }
}

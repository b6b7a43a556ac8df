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
use crate::kernel::Flavour;
use crate::vm::{self, Bus, Fs, Heap, Options};
use crate::{cargo, packages, tree};

/// The suite that runs everywhere: every method, both directions, against what the file system really does.
const EVERYWHERE: &str = "methods";
/// Tests that need the VM; cargo leaves them out of a plain `cargo test`.
const PREFIX: &str = "vm_";
/// Of those, the ones that make no sense without the ioctl.
const PATCHED: &str = "vm_patched";
/// Of those, the ones that make no sense without SELinux.
const SELINUX: &str = "vm_selinux";
/// What makes the kernel's selftest look that the ioctl is not there.
const STOCK: &str = "--stock";

/// One program to run in the guest.
#[derive(Debug)]
struct Program {
    name: String,
    path: PathBuf,
    args: &'static str,
}

/// Runs it.
pub fn run(table: &mut Table) {
    let start = Instant::now();
    let made = RunDir::new().and_then(|dir| {
        let selftest = selftest(dir.path())?;
        Ok((dir, tests()?, selftest, cargo::release()?))
    });
    let (dir, tests, selftest, product) = match made {
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
                selftest.iter().filter(|test| (test.args == STOCK) == (kernel == Flavour::Stock)),
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
            programs.push(Program { name: name.clone(), path: path.clone(), args: "" });
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

/// Builds the kernel patch's own test.
fn selftest(dir: &Path) -> Result<Vec<Program>> {
    packages::ensure(&["gcc", "libc6-dev"])
        .context(Unavailable("the kernel's selftest could not be built"))?;
    let path = dir.join("rw_file");
    let mut gcc = exec::command("gcc");
    gcc.current_dir(tree::root())
        .args(["-O2", "-Wall", "-Wextra", "-pthread", "-I", "kernel/uapi", "-o"])
        .arg(&path);
    Step::new("building the kernel selftest rw_file").run(gcc.arg("kernel/selftests/rw_file.c"))?;
    let program = |args| Program { name: "kernel_selftest".into(), path: path.clone(), args };
    Ok(vec![program(vm::TEST_DIR), program(STOCK)])
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

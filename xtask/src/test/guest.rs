//! The VM layer: the same test programs on both kernels, on f2fs with UFS and on ext4 with a virtio
//! disk. The complete run on the patched kernel is with SELinux enforcing. All programs of one
//! combination share one boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::slice;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use quick_junit::TestSuite;
use xtask::cache::RunDir;
use xtask::exec::{self, Step};
use xtask::failure::Unavailable;
use xtask::table::{report, suite, Table};
use xtask::{cargo, packages, tree};

use super::ktap;
use crate::kernel::{self, Base, Flavour};
use crate::vm::{self, tools, Bus, Fs, Options};

/// The tests to build for the guest: a plain `cargo test` omits the programs `vm_*`.
const BUILT: &[&str] = &["--workspace", "--test=methods", "--test=vm_*"];

/// The tests of the kernel's patches, and of the module.
const SELFTESTS: &[&str] = &["kernel/selftests/dmabuf-rw-file", "kernel/selftests/dmabufio-heap"];

/// The rate of the slow disk in bytes a second.
const SLOW_DISK: u64 = 100_000_000;

/// A kind of VM, and the tests that run in it.
type Combination = (Flavour, Bus, Fs, Extra, &'static str);

/// The combinations of a base.
fn combinations(base: Base) -> Vec<Combination> {
    // The module changes only the heap: that of the methods, that of loads through the service, and
    // what doctor says of it.
    const MODULE: &str =
        "binary(/^(methods|vm_fixtures|vm_doctor)$/) | (binary(vm_service) & test(/load/))";
    match base {
        Base::Linux6_12 => {
            const METHODS: &str = "binary(methods)";
            // Not the tests of the service alone: its clients, its threads, its memory, its pool, its
            // end.
            const DATA: &str =
                "not binary(/^vm_(selinux|patched|batch|death|killed|lazy|many|pool|soak|stall|stuck)/) \
                and not binary(vm_transactions)";
            const SLOW: &str = "binary(/^vm_patched_(cancel|crowd|fair)$/)";
            const ALL: &str = "not binary(/^vm_patched_(cancel|crowd|fair|module)$/)";
            vec![
                // All tests run as on a phone, with SELinux enforcing. Those that move data run once
                // more without the ioctl and without SELinux. With the other disk and file system,
                // only the methods behave differently.
                (Flavour::Patched, Bus::Ufs, Fs::F2fs, Extra::Selinux, ALL),
                (Flavour::Patched, Bus::Virtio, Fs::Ext4, Extra::None, METHODS),
                (Flavour::Stock, Bus::Ufs, Fs::F2fs, Extra::None, DATA),
                (Flavour::Stock, Bus::Virtio, Fs::Ext4, Extra::None, METHODS),
                (Flavour::Stock, Bus::Ufs, Fs::F2fs, Extra::Module, MODULE),
                // Both ways of direct I/O on one kernel, to compare them.
                (Flavour::Patched, Bus::Ufs, Fs::F2fs, Extra::Module, "binary(vm_patched_module)"),
                // On a disk without a limit, the emulated CPUs are what clients share and wait for.
                (Flavour::Patched, Bus::Ufs, Fs::F2fs, Extra::SlowDisk, SLOW),
            ]
        }
        Base::Linux6_1 => {
            // What the kernel decides: the methods, and how the service and the library use them. The
            // comparisons of time and the huge pages of vm_auto fail there: docs/kernels.md.
            const DATA: &str =
                "binary(/^(methods|vm_(auto|fixtures|save|service|stream|submit))$/) \
                and not test(/^(mode_auto_on_a|memory_of_a_udmabuf)/)";
            const WITH_MODULE: &str = "(binary(/^(methods|vm_auto|vm_fixtures|vm_doctor)$/) \
                and not test(/^(mode_auto_on_a|memory_of_a_udmabuf)/)) \
                | (binary(vm_service) & test(/load/))";
            vec![
                (Flavour::Patched, Bus::Ufs, Fs::F2fs, Extra::None, DATA),
                (Flavour::Stock, Bus::Ufs, Fs::F2fs, Extra::None, DATA),
                (Flavour::Stock, Bus::Ufs, Fs::F2fs, Extra::Module, WITH_MODULE),
            ]
        }
    }
}

/// What a combination has besides.
#[derive(Clone, Copy, PartialEq)]
enum Extra {
    None,
    Selinux,
    Module,
    SlowDisk,
}

/// The programs for the guest.
struct Programs {
    dir: RunDir,
    /// Of the product, and of nextest.
    folders: Vec<PathBuf>,
}

/// Runs the combinations of a base.
pub fn run(table: &mut Table, base: Base) {
    let mut programs = None;
    table.check("vm", "building the programs", || {
        programs = Some(build()?);
        Ok(())
    });
    let Some(programs) = programs else { return };
    for (kernel, disk, fs, extra, tests) in combinations(base) {
        let with = match extra {
            Extra::None => "",
            Extra::Selinux => " selinux",
            Extra::Module => " module",
            Extra::SlowDisk => " slow disk",
        };
        let series = if base == Base::default() { String::new() } else { format!("{base} ") };
        let name = format!("{series}{kernel} {disk}/{fs}{with}");
        table.run("vm", &name, || {
            let options = Options {
                kernel,
                base,
                disk,
                fs,
                memory: "4G".into(),
                module: extra == Extra::Module,
                heap: None,
                selinux: extra == Extra::Selinux,
                no_service: false,
                timeout: 45,
                disk_rate: (extra == Extra::SlowDisk).then_some(SLOW_DISK),
                one_arena: false,
                out: Some(programs.dir.path().join("out")),
            };
            boot(&programs, options, &name, tests)
        });
    }
}

/// One boot: a suite for each program, and one for the machine.
fn boot(programs: &Programs, options: Options, name: &str, tests: &str) -> Result<Vec<TestSuite>> {
    let dir = programs.dir.path();
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    // `absent` checks that the ioctl is missing.
    let selftests: &[&str] = match options.kernel {
        Flavour::Stock if options.module => &["absent", "heap", "hostile"],
        Flavour::Stock => &["absent"],
        _ if options.disk_rate.is_some() || options.module => &[],
        // The port has no patch for memory that is not cleared.
        _ if options.base == Base::Linux6_1 => {
            &["arguments", "attached", "data", "extents", "files", "sharing"]
        }
        _ => {
            &["arguments", "attached", "data", "extents", "files", "fill", "fill-races", "sharing"]
        }
    };
    let words = [dir.to_string_lossy().as_ref(), tests].map(exec::quote).join(" ");
    let words = format!("{words} {}", selftests.join(" "));
    let start = Instant::now();
    let outcome = vm::boot(&options, &programs.folders, &format!("sh vm/jobs/tests.sh {words}"))?;
    let took = start.elapsed();
    let read = |file: &str| fs::read_to_string(out.join(file)).unwrap_or_default();
    let succeeded = |file: &str| read(file).trim() == "0";

    let mut suites = report(&out.join("junit.xml"), succeeded("nextest.status"))
        .unwrap_or_else(|error| vec![suite("cargo-nextest", Some(format!("{error:#}")))]);
    suites.extend(selftests.iter().map(|name| {
        let (log, status) = (format!("{name}.log"), format!("{name}.status"));
        ktap::suite(&format!("kernel selftest {name}"), &read(&log), succeeded(&status))
    }));
    let wrong = (!vm::report(&outcome)).then(|| {
        let (service, complaints) = (outcome.service, outcome.complaints.join("\n"));
        format!(
            "the service ended with status {service:?}, and the kernel complained: {complaints}"
        )
    });
    let mut machine = suite("boot, service, kernel log", wrong);
    let tested = suites.iter().flat_map(|suite| &suite.test_cases).filter_map(|case| case.time);
    machine.test_cases[0].set_time(took.saturating_sub(tested.sum()));
    suites.push(machine);
    for suite in &mut suites {
        suite.name = format!("{name}: {}", suite.name.as_str()).into();
        suite.add_properties([
            ("base", options.base.to_string().as_str()),
            ("kernel", options.kernel.to_string().as_str()),
            ("disk", options.disk.to_string().as_str()),
            ("fs", options.fs.to_string().as_str()),
            ("selinux", if options.selinux { "enforcing" } else { "off" }),
        ]);
    }
    Ok(suites)
}

/// Builds the tests, the kernel's selftest and the product. The guest has no cargo: it gets the
/// metadata of cargo and nextest in files.
fn build() -> Result<Programs> {
    packages::ensure().context(Unavailable("the kernel's selftest could not be built"))?;
    let (dir, nextest) = (RunDir::new()?, tools::nextest()?);
    let mut list =
        cargo::command(&["nextest", "list", "--list-type=binaries-only", "--message-format=json"]);
    list.args(BUILT).env("PATH", exec::path_with(slice::from_ref(&nextest))).stdout(Stdio::piped());
    cargo::step("building the tests for the VM")
        .run(&mut cargo::command(&[&["test", "--no-run"], BUILT].concat()))?;
    let listed = list.output().context("starting cargo-nextest")?;
    let said = String::from_utf8_lossy(&listed.stderr);
    ensure!(
        listed.status.success(),
        "`cargo nextest list` {}: {said}",
        exec::describe(&listed.status)
    );
    fs::write(dir.path().join("binaries.json"), listed.stdout)?;
    fs::write(dir.path().join("metadata.json"), cargo::metadata(&[])?.to_string())?;
    selftests(dir.path())?;
    Ok(Programs { dir, folders: vec![cargo::release()?, nextest] })
}

/// Builds the kernel's selftests as the kernel's tree would.
fn selftests(dir: &Path) -> Result<()> {
    let unavailable = Unavailable("the kernel's selftests could not be built");
    let harness = kernel::selftests().context(unavailable)?;
    let out = dir.join("selftests");
    fs::create_dir(&out).with_context(|| format!("creating {}", out.display()))?;
    let uapi = tree::root().join("kernel/uapi/dma-buf-rw-file.h");
    for selftests in SELFTESTS {
        let mut make = exec::command("make");
        make.arg("-C")
            .arg(tree::root().join(selftests))
            .arg(format!("SELFTESTS={}", harness.display()))
            .arg(format!("OUTPUT={}", out.display()))
            .arg(format!("KHDR_INCLUDES=-include {}", uapi.display()))
            .arg("USERCFLAGS=-Werror");
        // Options of an outer make are not for this one.
        make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
        Step::new(format!("building {selftests}")).run(&mut make)?;
    }
    Ok(())
}

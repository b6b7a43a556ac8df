//! Compiles the SELinux policy with a stand-in for the platform's, and tries rules that must be refused.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{anyhow, bail, Context, Result};

use super::in_tree;
use crate::{cache, packages};

/// The version of the policy's binary format that Android 14 and later load.
const FORMAT: &str = "30";

/// The builds of a device: what its users have, and what developers have, who may do more.
const USER: &str = "user";
const USERDEBUG: &str = "userdebug";

/// The test of `refused` that names a type which vendor policy cannot know.
const PRIVATE: &str = "private_type.te";

/// The labels of a policy, to be checked against the types it has.
const CONTEXTS: [&str; 2] = ["file_contexts", "service_contexts"];

/// Where the service's program is on a phone.
const SERVICE: &str = "/vendor/bin/hw/vendor.dmabufio-service";

/// The folders of the policy that every device has.
const DEVICE: &[&str] = &["sepolicy/vendor"];

/// What a device may add to that: the folders, and the one with tests of it.
const OPTIONS: &[(&[&str], &str)] = &[
    (
        &["sepolicy/system_ext/public", "sepolicy/system_ext/private", "sepolicy/vendor_snapshots"],
        "sepolicy/tests/snapshots",
    ),
    (&["sepolicy/vendor_udmabuf"], "sepolicy/tests/udmabuf"),
    (&["sepolicy/tests/front"], "sepolicy/tests/front"),
];

/// The tests of what every device has, which the options must not change.
const TESTS: &str = "sepolicy/tests";

/// What makes the VM of the policy of a device with all options.
const VM: &str = "sepolicy/tests/vm";

/// The policy with nothing added compiles, for a device without options and with each, and for the VM; with any one file
/// of `refused` or any one permission of `granted` it does not.
pub fn check() -> Result<()> {
    let run = cache::RunDir::new()?;
    for_vm(run.path())?;
    device(run.path(), DEVICE, &[TESTS])?;
    for (option, tests) in OPTIONS {
        device(run.path(), &[DEVICE, option].concat(), &[TESTS, tests])?;
    }
    Ok(())
}

/// Checks the policy that a device has of `folders`.
fn device(dir: &Path, folders: &[&str], tests: &[&str]) -> Result<()> {
    let device = folders.join(" and ");
    // Vendor policy is built without what the system keeps to itself.
    let public: Vec<&str> =
        folders.iter().copied().filter(|folder| !folder.ends_with("/private")).collect();
    sound(dir, &public, USERDEBUG)?;
    for variant in [USER, USERDEBUG] {
        sound(dir, folders, variant)?;
    }
    for folder in folders {
        labels(folder, dir)?;
    }
    let mut wrong = Vec::new();
    for (name, text, meaning) in extras(tests)? {
        let extra = dir.join("extra.te");
        fs::write(&extra, text)?;
        let complaint = if name.ends_with(PRIVATE) { "unknown type" } else { "neverallow on line" };
        match compile(dir, folders, USERDEBUG, Some(&extra))? {
            Ok(()) => wrong.push(format!("{name}: {meaning}")),
            // Any other complaint is a mistake in the test.
            Err(why) if !why.contains(complaint) => wrong.push(format!("{name}: {why}")),
            Err(_) => {}
        }
    }
    if !wrong.is_empty() {
        bail!("{device}:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// What must not compile beside a policy: its name, its text, and what it means if it does.
fn extras(tests: &[&str]) -> Result<Vec<(String, String, &'static str)>> {
    let mut extras = Vec::new();
    for tests in tests {
        for kind in ["refused", "granted"] {
            let files = files(&in_tree(tests).join(kind), "te")?;
            if files.is_empty() {
                bail!("{tests}/{kind} is empty");
            }
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{tests}/{kind}/{name}");
                let text = fs::read_to_string(&file).with_context(|| format!("reading {name}"))?;
                if kind == "refused" {
                    extras.push((name, text, "compiles, but the platform refuses it"));
                    continue;
                }
                // One that is granted would hide that another is not.
                let split = text.rsplit_once(':').and_then(|(rule, rest)| {
                    let (class, permissions) = rest.split_once(' ')?;
                    Some((rule, class, permissions))
                });
                let (rule, class, permissions) =
                    split.with_context(|| format!("{name}: no rule for a class"))?;
                for permission in permissions.split(|c: char| "{}; \n".contains(c)) {
                    if !permission.is_empty() {
                        extras.push((
                            format!("{name}, {permission}"),
                            format!("{rule}:{class} {permission};\n"),
                            "compiles, so the policy does not grant it",
                        ));
                    }
                }
            }
        }
    }
    Ok(extras)
}

/// Fails unless the policy compiles, to the binary form and, as Android's own build has it, by way of CIL.
fn sound(dir: &Path, folders: &[&str], variant: &str) -> Result<()> {
    let complain = |compiler: &str, why: String| {
        let folders = folders.join(" and ");
        anyhow!(
            "{folders} do not compile with sepolicy/tests/platform ({variant}, {compiler}):\n{why}"
        )
    };
    compile(dir, folders, variant, None)?.map_err(|why| complain("checkpolicy", why))?;
    let (conf, cil) = (dir.join("policy.conf"), dir.join("policy.cil"));
    for compiler in [
        Command::new("checkpolicy").args(["-M", "-C", "-o"]).arg(&cil).arg(&conf),
        Command::new("secilc")
            .args(["-M", "true", "-c", FORMAT, "-o", "/dev/null", "-f", "/dev/null"])
            .arg(&cil),
    ] {
        let compiled = output(compiler)?;
        if !compiled.status.success() {
            return Err(complain("secilc", text(&compiled)));
        }
    }
    Ok(())
}

/// Writes what `vm/selinux.sh` needs to `dir`: `selinux-policy`, and `selinux-service-label`, the label that the service's
/// program has on a phone.
pub fn for_vm(dir: &Path) -> Result<()> {
    packages::ensure(&["m4", "checkpolicy", "secilc", "selinux-utils"])?;
    let mut folders = DEVICE.to_vec();
    folders.extend(OPTIONS.iter().flat_map(|(option, _)| *option));
    folders.push(VM);
    sound(dir, &folders, USERDEBUG)?;
    fs::rename(dir.join("policy"), dir.join("selinux-policy")).context("naming the policy")?;
    let contexts = in_tree("sepolicy/vendor/file_contexts");
    let mut lookup = command("selabel_lookup");
    lookup.args(["-b", "file", "-k", SERVICE, "-f"]).arg(contexts);
    let found = output(&mut lookup)?;
    let found = String::from_utf8_lossy(&found.stdout);
    let Some((_, label)) = found.trim().split_once("context: ") else {
        bail!("sepolicy/vendor/file_contexts has no label for {SERVICE}");
    };
    fs::write(dir.join("selinux-service-label"), label).context("writing the service's label")
}

/// Expands and compiles the policy of `folders` with the platform's; the inner error is what the compiler said.
fn compile(
    dir: &Path,
    folders: &[&str],
    variant: &str,
    extra: Option<&Path>,
) -> Result<std::result::Result<(), String>> {
    let platform = in_tree("sepolicy/tests/platform");
    let mut m4 = Command::new("m4");
    m4.args(["--fatal-warnings", "-s"]).arg(format!("-Dtarget_build_variant={variant}"));
    m4.arg(platform.join("classes.conf")).arg(platform.join("macros.m4"));
    // The order of the platform's own build: attributes, then types and rules, then what ends a policy.
    m4.arg(in_tree("sepolicy/vendor/attributes")).arg(platform.join("types.te"));
    for folder in folders {
        m4.args(files(&in_tree(folder), "te")?);
    }
    m4.arg(platform.join("neverallow.te")).args(extra).arg(platform.join("tail.conf"));
    for folder in folders {
        m4.args(files(&in_tree(folder), "conf")?);
    }
    let expanded = output(&mut m4)?;
    if !expanded.status.success() {
        return Ok(Err(text(&expanded)));
    }
    let conf = dir.join("policy.conf");
    fs::write(&conf, &expanded.stdout)?;
    let mut compiler = Command::new("checkpolicy");
    compiler.args(["-M", "-c", FORMAT, "-o"]).arg(dir.join("policy")).arg(&conf);
    let compiled = output(&mut compiler)?;
    Ok(if compiled.status.success() { Ok(()) } else { Err(text(&compiled)) })
}

/// Fails unless every label that the files of `folder` give out exists in the policy.
fn labels(folder: &str, dir: &Path) -> Result<()> {
    for name in CONTEXTS {
        let source = in_tree(folder).join(name);
        if !source.exists() {
            continue;
        }
        // What SELinux calls file contexts is the same format for services, but for the meaning of the first word.
        let words =
            fs::read_to_string(&source).with_context(|| format!("reading {}", source.display()))?;
        let rooted: String = words
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| format!("/{}\n", line.trim_start_matches('/')))
            .collect();
        let copy = dir.join(name);
        fs::write(&copy, rooted)?;
        let mut compiler = command("sefcontext_compile");
        compiler.arg("-p").arg(dir.join("policy")).arg("-o").arg(dir.join("labels")).arg(&copy);
        let compiled = output(&mut compiler)?;
        if !compiled.status.success() {
            bail!("{folder}/{name}: {}", text(&compiled));
        }
    }
    Ok(())
}

/// A tool of SELinux, which may be in a folder that is in nobody's PATH but root's.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command
}

fn output(command: &mut Command) -> Result<Output> {
    command
        .output()
        .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// The files of a folder that end in `extension`, in order.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

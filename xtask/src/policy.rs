//! The SELinux policy, compiled with a stand-in for the platform's.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{anyhow, bail, Context, Result};

use crate::{packages, tree};

/// The version of the policy's binary format that Android 14 and later load.
const FORMAT: &str = "30";

/// The build of a developer's device, which permits more than a user's.
pub const USERDEBUG: &str = "userdebug";

/// The path of the service's program on a phone.
const SERVICE: &str = "/vendor/bin/hw/vendor.dmabufio-service";

/// The folders of the policy that every device has.
pub const DEVICE: &[&str] = &["sepolicy/vendor"];

/// The options that a device may add: the folders, and the one with their tests.
pub const OPTIONS: &[(&[&str], &str)] = &[
    (
        &["sepolicy/system_ext/public", "sepolicy/system_ext/private", "sepolicy/vendor_snapshots"],
        "sepolicy/tests/snapshots",
    ),
    (&["sepolicy/vendor_system_direct"], "sepolicy/tests/system_direct"),
    (&["sepolicy/vendor_udmabuf"], "sepolicy/tests/udmabuf"),
    (&["sepolicy/tests/front"], "sepolicy/tests/front"),
];

/// The rules that the VM adds to the policy of a device with all options.
const VM: &str = "sepolicy/tests/vm";

/// Fails unless the policy compiles, to the binary form and, as in Android's own build, through
/// CIL.
pub fn sound(dir: &Path, folders: &[&str], variant: &str) -> Result<()> {
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

/// Writes two files for `vm/selinux.sh` to `dir`: `selinux-policy`, and `selinux-service-label`,
/// the label of the service's program on a phone.
pub fn for_vm(dir: &Path) -> Result<()> {
    packages::ensure()?;
    let mut folders = DEVICE.to_vec();
    folders.extend(OPTIONS.iter().flat_map(|(option, _)| *option));
    folders.push(VM);
    sound(dir, &folders, USERDEBUG)?;
    fs::rename(dir.join("policy"), dir.join("selinux-policy")).context("naming the policy")?;
    let contexts = tree::root().join("sepolicy/vendor/file_contexts");
    let mut lookup = command("selabel_lookup");
    lookup.args(["-b", "file", "-k", SERVICE, "-f"]).arg(contexts);
    let found = output(&mut lookup)?;
    let found = String::from_utf8_lossy(&found.stdout);
    let Some((_, label)) = found.trim().split_once("context: ") else {
        bail!("sepolicy/vendor/file_contexts has no label for {SERVICE}");
    };
    fs::write(dir.join("selinux-service-label"), label).context("writing the service's label")
}

/// Expands and compiles the policy of `folders` with the platform's; the inner error is the message
/// of the compiler.
pub fn compile(
    dir: &Path,
    folders: &[&str],
    variant: &str,
    extra: Option<&Path>,
) -> Result<std::result::Result<(), String>> {
    let platform = tree::root().join("sepolicy/tests/platform");
    let mut m4 = Command::new("m4");
    m4.args(["--fatal-warnings", "-s"]).arg(format!("-Dtarget_build_variant={variant}"));
    m4.arg(platform.join("classes.conf")).arg(platform.join("macros.m4"));
    // The order of the platform's own build: attributes, then types and rules, then the end of a
    // policy.
    m4.arg(tree::root().join("sepolicy/vendor/attributes")).arg(platform.join("types.te"));
    for folder in folders {
        m4.args(files(&tree::root().join(folder), "te")?);
    }
    m4.arg(platform.join("neverallow.te")).args(extra).arg(platform.join("tail.conf"));
    for folder in folders {
        let folder = tree::root().join(folder);
        m4.args(Some(folder.join("genfs_contexts")).filter(|contexts| contexts.exists()));
        m4.args(files(&folder, "conf")?);
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

/// A tool of SELinux, which may be in a folder that only root's PATH has.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .output()
        .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))
}

/// Its error messages.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// The files of a folder that end in `extension`, in order.
pub fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
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

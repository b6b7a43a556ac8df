//! Tests the SELinux policy: the platform's rules must refuse bad additions, and the policy must
//! grant each necessary permission.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use xtask::cache::RunDir;
use xtask::policy::{
    command, compile, files, for_vm, output, sound, text, DEVICE, OPTIONS, USERDEBUG,
};
use xtask::tree;

/// The build of a user's device.
const USER: &str = "user";

/// The test of `refused` that names a type which vendor policy cannot know.
const PRIVATE: &str = "private_type.te";

/// The labels of a policy, to be checked against the types it has.
const CONTEXTS: [&str; 2] = ["file_contexts", "service_contexts"];

/// The tests of the policy of every device, which the options must not change.
const TESTS: &str = "sepolicy/tests";

/// The policy with nothing added compiles, for a device without options and with each, and for the VM; with any one file
/// of `refused` or any one permission of `granted` it does not.
pub fn check() -> Result<()> {
    let run = RunDir::new()?;
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
    // Vendor policy is built without the private policy of the system.
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

/// A rule that must not compile beside a policy: its name, its text, and the meaning of a success.
fn extras(tests: &[&str]) -> Result<Vec<(String, String, &'static str)>> {
    let mut extras = Vec::new();
    for tests in tests {
        for kind in ["refused", "granted"] {
            let files = files(&tree::path(tests).join(kind), "te")?;
            ensure!(!files.is_empty(), "{tests}/{kind} is empty");
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{tests}/{kind}/{name}");
                let text = fs::read_to_string(&file).with_context(|| format!("reading {name}"))?;
                if kind == "refused" {
                    extras.push((name, text, "compiles, but the platform refuses it"));
                    continue;
                }
                // A permission that is granted would hide one that is not.
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

/// Fails unless every label that the files of `folder` give out exists in the policy.
fn labels(folder: &str, dir: &Path) -> Result<()> {
    for name in CONTEXTS {
        let source = tree::path(folder).join(name);
        if !source.exists() {
            continue;
        }
        // The file contexts of SELinux have the same format for services, with another meaning of
        // the first word.
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

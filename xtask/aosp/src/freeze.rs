//! Freezes a version of the interface, as Soong's `m vendor.dmabufio-freeze-api` does, and checks
//! the frozen ones.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use xtask::exec::{self, Step};
use xtask::tree;

use crate::aidl::{self, Compiler, CURRENT, PACKAGE};
use crate::sandbox::copy_dir;

/// The folder of the versions.
const VERSIONS: &str = "aidl/aidl_api/vendor.dmabufio";

/// Checks the frozen versions and rehearses the next freeze; with `write`, does it.
pub fn run(write: bool) -> Result<()> {
    aidl::compare_api()?;
    let frozen = frozen()?;
    let mut before = None;
    for version in 1..=frozen {
        let folder = tree::path(VERSIONS).join(version.to_string());
        let said = tree::read(&format!("{VERSIONS}/{version}/.hash"))?;
        // The file only grows, and its last line counts.
        let said = said.lines().last().unwrap_or_default();
        let is = hash(&folder, before)?;
        ensure!(said == is, "{VERSIONS}/{version}/.hash says {said}, the files say {is}: a frozen version never changes");
        before = Some(version);
    }

    let compiler = Compiler::new(&tree::path(CURRENT))?;
    let work = compiler.sandbox.work();
    copy_dir(&tree::path(CURRENT), &work.join("next"))?;
    if let Some(last) = before {
        copy_dir(&tree::path(VERSIONS).join(last.to_string()), &work.join("last"))?;
        compatible(&compiler, "last", "next")
            .with_context(|| format!("the interface breaks with version {last}"))?;
    }
    // The check above is worth something only if the comparison finds changes that break clients.
    without_an_enumerator(&work.join("next"), &work.join("broken"))?;
    match compatible(&compiler, "next", "broken") {
        Err(error) if error.to_string().contains("Removed enumerator") => {}
        Err(error) => return Err(error.context("comparing with a version that lacks a value")),
        Ok(()) => bail!("AOSP's comparison accepts that a value of an enum is gone"),
    }

    let version = frozen + 1;
    let hash = hash(&work.join("next"), before)?;
    let mode = ["--lang=rust", "--version", &version.to_string(), "--hash", &hash];
    let generated = aidl::texts(&compiler.run("generating Rust from the next version", &mode)?)?;
    ensure!(
        generated.values().any(|text| text.contains(&format!("HASH: &str = \"{hash}\""))),
        "the Rust code of the next version does not hold its hash {hash}"
    );
    if !write {
        return Ok(());
    }
    let folder = tree::path(VERSIONS).join(version.to_string());
    copy_dir(&tree::path(CURRENT), &folder)?;
    fs::write(folder.join(".hash"), format!("{hash}\n")).context("writing the hash")?;
    println!(
        "wrote {VERSIONS}/{version}\nnext: in aidl/Android.bp, set `frozen: true` and append to `versions_with_info`\n\
         {{\n    version: \"{version}\",\n    imports: [],\n}}"
    );
    Ok(())
}

/// The number of frozen versions. Their folders and the list in Android.bp must agree.
pub fn frozen() -> Result<usize> {
    let text = tree::read("aidl/Android.bp")?;
    let listed = text.matches(" version: \"").count();
    let root = tree::path(VERSIONS);
    let folders = (1..).take_while(|version| root.join(version.to_string()).is_dir()).count();
    ensure!(
        listed == folders,
        "aidl/Android.bp lists {listed} frozen versions, {VERSIONS} has {folders}"
    );
    if text.contains("frozen: true,") {
        ensure!(listed > 0, "aidl/Android.bp: `frozen: true` without a version");
        let last = root.join(listed.to_string());
        ensure!(
            aidl::texts(&last.join(PACKAGE))? == aidl::texts(&tree::path(CURRENT).join(PACKAGE))?,
            "aidl/Android.bp says `frozen: true`, but {CURRENT} is not version {listed}"
        );
    }
    // Soong's defaults differ from its documentation.
    for backend in ["cpp", "java", "ndk", "rust"] {
        ensure!(
            text.contains(&format!("        {backend}: {{")),
            "aidl/Android.bp: says nothing on {backend}"
        );
    }
    Ok(listed)
}

fn compatible(compiler: &Compiler, old: &str, new: &str) -> Result<()> {
    let mut check = compiler.sandbox.command("aidl");
    check.args(["--checkapi=compatible", "--structured", "--stability=vintf", old, new]);
    let ended = check.output().context("starting AOSP's AIDL compiler")?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr).trim());
    Ok(())
}

/// Copies the files of an interface without the last value of one of its enums.
fn without_an_enumerator(from: &Path, to: &Path) -> Result<()> {
    copy_dir(from, to)?;
    let path = to.join(PACKAGE).join("Error.aidl");
    let text = fs::read_to_string(&path).context("reading Error.aidl")?;
    let (kept, _) = text.trim_end().rsplit_once(",\n}").context("Error.aidl is no enum")?;
    let (kept, _) = kept.rsplit_once('\n').context("Error.aidl has one value")?;
    fs::write(&path, format!("{kept}\n}}\n")).context("writing Error.aidl")
}

/// The hash of Soong's hash_gen.sh and its check: over the hash of each file, in the order of their
/// names, and the version before.
fn hash(folder: &Path, before: Option<usize>) -> Result<String> {
    let before = before.map_or("latest-version".to_owned(), |version| version.to_string());
    let script =
        "cd \"$0\" && { find ./ -name '*.aidl' -print0 | LC_ALL=C sort -z | xargs -0 sha1sum && \
                  echo \"$1\"; } | sha1sum | cut -d ' ' -f 1";
    let mut shell = exec::command("sh");
    shell.args(["-c", script]).arg(folder).arg(before);
    Ok(Step::new("hashing a version of the interface").capture(&mut shell)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_depends_on_names_contents_and_the_version_before() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("A.aidl"), "a\n")?;
        // printf '3f786850e387550fdab836ed7e6dc881de23001b  ./A.aidl\nlatest-version\n' | sha1sum
        assert_eq!(hash(dir.path(), None)?, "332b940c6684709d0c67b9c48342a3f0280f3f65");
        let first = hash(dir.path(), None)?;
        assert_ne!(hash(dir.path(), Some(1))?, first);
        fs::write(dir.path().join(".hash"), "not part of it")?;
        assert_eq!(hash(dir.path(), None)?, first);
        fs::rename(dir.path().join("A.aidl"), dir.path().join("B.aidl"))?;
        assert_ne!(hash(dir.path(), None)?, first);
        Ok(())
    }
}

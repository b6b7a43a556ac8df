//! The kernel's source tree: unpacked once for each version of the package. Quilt puts the patches in and takes them out
//! in place, so that a changed patch rebuilds what it touches and not the whole kernel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::exec::{self, Step};
use xtask::{cache, tree};

/// The patches of one kernel series.
#[derive(Debug)]
pub struct Patches {
    dir: PathBuf,
    /// Changes when any of them does, or their order.
    pub key: String,
}

/// Reads `kernel/patches/<series>/series` and what it lists.
pub fn patches(series: &str) -> Result<Patches> {
    let dir = format!("kernel/patches/{series}");
    let list = tree::read(&format!("{dir}/series"))?;
    let names = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let texts =
        names.filter(|name| !name.is_empty()).map(|name| tree::read(&format!("{dir}/{name}")));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    Ok(Patches { dir: tree::root().join(dir), key: tree::key(texts.iter().map(String::as_str)) })
}

/// The source tree below `base`, in which a series of patches may or may not be.
pub fn unpacked(base: &Path, package: &str, version: &str) -> Result<PathBuf> {
    cache::publish(&base.join("linux"), |stage| {
        fs::create_dir_all(stage)?;
        Step::new(format!("unpacking {package} {version}"))
            .hint(format!("`apt-get install --reinstall {package}` if the archive is damaged"))
            .run(
                exec::command("tar")
                    .args(["-x", "--strip-components=1", "-f"])
                    .arg(format!("/usr/src/{package}.tar.xz"))
                    .arg("-C")
                    .arg(stage),
            )
    })
}

/// The source tree below `base`, patched.
pub fn ensure(base: &Path, package: &str, version: &str, patches: &Patches) -> Result<PathBuf> {
    let linux = unpacked(base, package, version)?;
    let applied = base.join("patched-with");
    if fs::read_to_string(&applied).is_ok_and(|key| key == patches.key) {
        return Ok(linux);
    }
    // Without the mark the tree counts as half patched.
    let _ = fs::remove_file(&applied);
    repatch(&linux, &patches.dir)?;
    fs::write(&applied, &patches.key).with_context(|| format!("writing {}", applied.display()))?;
    Ok(linux)
}

/// Takes out the patches that are in, which restores the files as they were saved, and puts in those of `dir`.
fn repatch(linux: &Path, dir: &Path) -> Result<()> {
    let quilt = |what: &str, args: &[&str]| {
        let mut command = exec::command("quilt");
        command.args(["--quiltrc", "-"]).args(args).env("QUILT_PATCHES", dir).current_dir(linux);
        Step::new(what)
            .hint(format!(
                "the patches must apply to every point release; remove {} if a run was killed while it patched",
                linux.display()
            ))
            .run(&mut command)
    };
    let applied = fs::read_to_string(linux.join(".pc/applied-patches")).unwrap_or_default();
    if !applied.is_empty() {
        quilt("taking the old patches out of the kernel", &["pop", "-a", "-f"])?;
    }
    // Quilt remembers the folder of the patches that it put in first, perhaps of another checkout, and prefers it.
    let memory = linux.join(".pc");
    if memory.exists() {
        fs::remove_dir_all(&memory).with_context(|| format!("removing {}", memory.display()))?;
    }
    quilt("putting the patches into the kernel", &["push", "-a"])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const UAPI: &str = "include/uapi/linux/dma-buf.h";

    /// What those of `patches` that are in a series do to the files that they add, and to the ABI.
    fn changes(series: &str, patches: &str) -> Result<BTreeMap<String, String>> {
        let dir = format!("kernel/patches/{series}");
        let mut changes = BTreeMap::<_, String>::new();
        let list = tree::read(&format!("{dir}/series"))?;
        for patch in list.lines().filter(|patch| patches.lines().any(|other| other == *patch)) {
            let text = tree::read(&format!("{dir}/{patch}"))?;
            for file in text.split("\ndiff --git a/").skip(1) {
                let (path, _) = file.split_once(" b/").context("a patch without a path")?;
                let (head, hunks) = file.split_once("\n+++ b/").context("a patch without hunks")?;
                let added = head.contains("\nnew file mode ");
                if added || path == UAPI || changes.contains_key(path) {
                    changes.entry(path.to_owned()).or_default().push_str(hunks.trim_end());
                }
            }
        }
        Ok(changes)
    }

    /// There is one engine and one ABI: a base with other functions has one more file, which brings them. The patches of
    /// 6.1 are some of those of 6.12, in their order.
    #[test]
    fn files_that_the_patches_add_are_the_same_on_all_bases() -> Result<()> {
        let [ours, port] =
            ["6.12", "6.1"].map(|base| tree::read(&format!("kernel/patches/{base}/series")));
        let (ours, port) = (ours?, port?);
        let both: Vec<_> =
            ours.lines().filter(|patch| port.lines().any(|other| other == *patch)).collect();
        assert_eq!(
            both,
            port.lines().collect::<Vec<_>>(),
            "6.1 has a patch, or an order, that 6.12 has not"
        );
        let (ours, mut port) = (changes("6.12", &port)?, changes("6.1", &port)?);
        assert!(ours.contains_key("drivers/dma-buf/dma-buf-rw-file.c"), "{:?}", ours.keys());
        assert!(ours.contains_key(UAPI), "{:?}", ours.keys());
        assert!(port.remove("drivers/dma-buf/dma-buf-rw-file-compat.h").is_some());
        assert_eq!(ours.keys().collect::<Vec<_>>(), port.keys().collect::<Vec<_>>());
        for (path, hunks) in ours {
            assert!(port[&path] == hunks, "{path} differs between the bases");
        }
        Ok(())
    }
}

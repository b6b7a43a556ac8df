//! The kernel's source tree: unpacked once for each version of the package, with the patches put in and taken out in
//! place, so that a changed patch rebuilds what it touches and not the whole kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exec::{self, Step};
use crate::{cache, tree};

/// The patches of one kernel series.
#[derive(Debug)]
pub struct Patches {
    files: Vec<(PathBuf, String)>,
    /// Changes when any of them does, or their order.
    pub key: String,
}

/// Reads `kernel/patches/<series>/series` and what it lists.
pub fn patches(series: &str) -> Result<Patches> {
    let dir = format!("kernel/patches/{series}");
    let mut files = Vec::new();
    for name in listed(&tree::read(&format!("{dir}/series"))?) {
        let path = format!("{dir}/{name}");
        files.push((tree::root().join(&path), tree::read(&path)?));
    }
    let key = tree::key(files.iter().map(|(_, text)| text.as_str()));
    Ok(Patches { files, key })
}

/// The source tree below `base`, in which a series of patches may or may not be.
pub fn unpacked(base: &Path, package: &str, version: &str) -> Result<PathBuf> {
    cache::publish(&base.join("linux"), |stage| {
        fs::create_dir_all(stage)?;
        Step::new(format!("unpacking {package} {version}"))
            .hint(format!("`apt-get install --reinstall {package}` if the archive is damaged"))
            .run(
                exec::command("tar")
                    .arg("-xf")
                    .arg(format!("/usr/src/{package}.tar.xz"))
                    .arg("-C")
                    .arg(stage)
                    .arg("--strip-components=1"),
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

    let originals = base.join("originals");
    let list = base.join("touched");
    // Without the mark the tree counts as half patched, and is restored.
    let _ = fs::remove_file(&applied);
    restore(&linux, &originals, &list)?;

    let touched: BTreeSet<&str> =
        patches.files.iter().flat_map(|(_, text)| touched(text)).collect();
    let _ = fs::remove_dir_all(&originals);
    for path in &touched {
        let (from, to) = (linux.join(path), originals.join(path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        if from.exists() {
            fs::copy(&from, &to).with_context(|| format!("saving {}", from.display()))?;
        }
    }
    let text: Vec<&str> = touched.into_iter().collect();
    fs::write(&list, text.join("\n")).with_context(|| format!("writing {}", list.display()))?;
    for (path, _) in &patches.files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Step::new(format!("applying {name} to {package} {version}"))
            .hint(format!("{} must apply to every point release of the package", path.display()))
            .run(
                exec::command("patch")
                    .args(["-p1", "--force", "--no-backup-if-mismatch", "--fuzz=2"])
                    .arg("-d")
                    .arg(&linux)
                    .arg("-i")
                    .arg(path),
            )?;
    }
    fs::write(&applied, &patches.key).with_context(|| format!("writing {}", applied.display()))?;
    Ok(linux)
}

/// Puts back what a series touched. May be repeated: the saved files stay until others are saved.
fn restore(linux: &Path, originals: &Path, list: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(list) else {
        return Ok(());
    };
    for path in text.lines() {
        let (saved, place) = (originals.join(path), linux.join(path));
        if saved.exists() {
            fs::copy(&saved, &place).with_context(|| format!("restoring {}", place.display()))?;
        } else if place.exists() {
            fs::remove_file(&place).with_context(|| format!("removing {}", place.display()))?;
        }
    }
    fs::remove_file(list).with_context(|| format!("removing {}", list.display()))
}

fn listed(series: &str) -> Vec<&str> {
    series
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The files a patch names, from the root of the kernel.
fn touched(patch: &str) -> Vec<&str> {
    patch
        .lines()
        .filter_map(|line| line.strip_prefix("+++ b/").or_else(|| line.strip_prefix("--- a/")))
        .map(|path| path.split('\t').next().unwrap_or(path).trim_end())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_skips_comments() {
        assert_eq!(
            listed("# order matters\n0001-a.patch\n\n0002-b.patch # why\n"),
            ["0001-a.patch", "0002-b.patch"]
        );
    }

    #[test]
    fn touched_has_old_and_new_files() {
        let patch =
            "--- a/x/old.c\t2025\n+++ b/x/old.c\t2025\n@@ -1 +1 @@\n--- /dev/null\n+++ b/x/new.c\n";
        assert_eq!(touched(patch), ["x/old.c", "x/old.c", "x/new.c"]);
    }

    #[test]
    fn restored_tree_is_the_original() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (linux, originals, list) =
            (dir.path().join("l"), dir.path().join("o"), dir.path().join("t"));
        fs::create_dir_all(&linux)?;
        fs::create_dir_all(&originals)?;
        fs::write(linux.join("old.c"), "patched")?;
        fs::write(linux.join("new.c"), "added")?;
        fs::write(originals.join("old.c"), "original")?;
        fs::write(&list, "old.c\nnew.c")?;
        restore(&linux, &originals, &list)?;
        assert_eq!(fs::read_to_string(linux.join("old.c"))?, "original");
        assert!(!linux.join("new.c").exists() && !list.exists());
        Ok(())
    }
}

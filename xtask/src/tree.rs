//! The source tree this tool belongs to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};

use crate::exec;

/// The root of the tree.
pub fn root() -> PathBuf {
    // Cargo sets it at run time; the compiled-in path is for a start by hand.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = package.ancestors().find(|dir| dir.join("Cargo.lock").exists());
    root.map_or(package.clone(), Path::to_owned)
}

/// A file or folder of the tree, named from its root.
pub fn path(name: &str) -> PathBuf {
    root().join(name)
}

/// The text of a file of the tree, named from its root.
pub fn read(path: &str) -> Result<String> {
    fs::read_to_string(self::path(path)).with_context(|| format!("reading {path}"))
}

/// The files of the tree, named from its root: those that git tracks, and new ones that it does not
/// ignore.
pub fn files() -> Result<Vec<String>> {
    let output = exec::command("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .context("listing the files of the tree with git")?;
    if !output.status.success() {
        bail!(
            "`git ls-files` {}: {}",
            exec::describe(&output.status),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    // git also lists a removed file before the commit.
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty() && path(name).is_file())
        .map(str::to_owned)
        .collect())
}

/// The commit of the tree, in `digits` hexadecimal digits, with `-dirty` behind it if the tree differs.
pub fn commit(digits: usize) -> Result<String> {
    describe(&root(), digits)
}

fn describe(root: &Path, digits: usize) -> Result<String> {
    let mut git = exec::command("git");
    git.current_dir(root).args(["describe", "--always", "--dirty", "--exclude=*"]);
    git.arg(format!("--abbrev={digits}"));
    let output = git.output().with_context(|| format!("starting {git:?}"))?;
    ensure!(output.status.success(), "{git:?} {}", exec::describe(&output.status));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A short name for the result of these inputs. The hash includes the length of each part, so that
/// a move of text from one part to the next changes it.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_says_nothing_of_tags_and_whether_the_tree_differs() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("file");
        let git = |args: &[&str]| -> Result<String> {
            let user = [
                "-c",
                "user.name=x",
                "-c",
                "user.email=x",
                "-c",
                "commit.gpgSign=false",
                "-c",
                "tag.gpgSign=false",
            ];
            let output = exec::command("git")
                .env_remove("GIT_DIR")
                .current_dir(dir.path())
                .args(user)
                .args(args)
                .output()?;
            ensure!(output.status.success(), "{args:?}: {output:?}");
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        git(&["init"])?;
        assert!(describe(dir.path(), 40).is_err(), "there is no commit");
        fs::write(&file, "a")?;
        git(&["add", "file"])?;
        git(&["commit", "--message=x"])?;
        git(&["tag", "--annotate", "--message=x", "v1"])?;
        let head = git(&["rev-parse", "HEAD"])?;
        assert_eq!(describe(dir.path(), 40)?, head);
        assert_eq!(describe(dir.path(), 12)?, head[..12]);
        fs::write(&file, "changed")?;
        assert_eq!(describe(dir.path(), 12)?, format!("{}-dirty", &head[..12]));
        Ok(())
    }

    #[test]
    fn key_depends_on_every_part_and_on_the_borders() {
        assert_eq!(key(["a", "b"]), key(["a", "b"]));
        assert_ne!(key(["a", "b"]), key(["b", "a"]));
        assert_ne!(key(["ab", ""]), key(["a", "b"]));
        assert_eq!(key(["a"]).len(), 16);
    }
}

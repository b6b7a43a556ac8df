//! The cache for everything that is built or downloaded once: outside the source tree, shared by
//! all clones.
//!
//! Two promises to callers: one process at a time builds a thing ([`lock`]), and a thing with its
//! final name is complete ([`publish`]).

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use tempfile::TempDir;

/// The cache folder, created on first use: `$DMABUFIO_CACHE`, else `$XDG_CACHE_HOME/dmabufio`, else `~/.cache/dmabufio`.
pub fn dir() -> Result<PathBuf> {
    let path = locate(|name| env::var(name).ok())?;
    fs::create_dir_all(&path).with_context(|| {
        format!(
            "creating the cache folder {}; set DMABUFIO_CACHE to a folder that can be written",
            path.display()
        )
    })?;
    Ok(path)
}

/// A folder of the cache, created on first use.
pub fn subdir(name: &str) -> Result<PathBuf> {
    let path = dir()?.join(name);
    fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

fn locate(var: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = set("DMABUFIO_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("dmabufio")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/dmabufio")));
    match path {
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) => bail!("the cache folder {} is not an absolute path; set DMABUFIO_CACHE to one", path.display()),
        None => bail!("there is no HOME to put a cache in; set DMABUFIO_CACHE to a folder that can be written"),
    }
}

/// An exclusive lock, held until dropped. The kernel releases it at every death of the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits for the lock `name`, and prints a line when another run holds it.
pub fn lock(name: &str) -> Result<Lock> {
    let path = subdir("locks")?.join(format!("{name}.lock"));
    if let Some(lock) = try_lock(&path)? {
        return Ok(lock);
    }
    eprintln!("    another run is busy with {name}; waiting for it");
    let file =
        File::create(&path).with_context(|| format!("opening the lock {}", path.display()))?;
    // The kernel restarts the call after a signal.
    flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(Lock { _file: file })
}

/// The lock on the file `path`, or `None` when another process holds it.
pub fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file =
        File::create(path).with_context(|| format!("opening the lock {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("locking {}", path.display())),
    }
}

/// Returns `dest`, a file or folder. If it is missing, `build` makes it under another name, and it
/// gets its own name when it is complete. One process builds it, others wait.
pub fn publish(dest: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if dest.exists() {
        return Ok(dest.to_owned());
    }
    let (Some(parent), Some(name)) = (dest.parent(), dest.file_name()) else {
        bail!("{} is not a path inside the cache", dest.display());
    };
    let _lock = lock(&name.to_string_lossy())?;
    if dest.exists() {
        return Ok(dest.to_owned());
    }
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    // The rest of a killed build; the lock proves that nobody writes there.
    let stage = parent.join(format!(".{}.building", name.to_string_lossy()));
    remove(&stage)?;
    build(&stage)?;
    fs::rename(&stage, dest)
        .with_context(|| format!("moving {} to {}", stage.display(), dest.display()))?;
    Ok(dest.to_owned())
}

fn remove(path: &Path) -> Result<()> {
    let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match gone {
        Err(error) if path.exists() => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A folder for one run, removed when dropped. The next run removes the folder of a killed run.
#[derive(Debug)]
pub struct RunDir {
    dir: TempDir,
    _lock: Lock,
}

impl RunDir {
    /// Makes the folder, and removes the folders of dead runs.
    pub fn new() -> Result<Self> {
        let runs = subdir("runs")?;
        // Held until the new folder has its own lock, so that no other run removes it.
        let _sweep = lock("runs")?;
        for entry in fs::read_dir(&runs).with_context(|| format!("listing {}", runs.display()))? {
            let path = entry?.path();
            if path.is_dir() && try_lock(&path.join("alive"))?.is_some() {
                remove(&path)?;
            }
        }
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&runs)?;
        let Some(lock) = try_lock(&dir.path().join("alive"))? else {
            bail!("{} is new and already locked", dir.path().display());
        };
        Ok(RunDir { dir, _lock: lock })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(vars: &[(&str, &str)]) -> Option<PathBuf> {
        locate(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
        .ok()
    }

    #[test]
    fn own_variable_wins_over_xdg_and_home() {
        let vars = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("DMABUFIO_CACHE", "/d")];
        assert_eq!(located(&vars), Some("/d".into()));
        assert_eq!(located(&vars[..2]), Some("/x/dmabufio".into()));
        assert_eq!(located(&vars[..1]), Some("/h/.cache/dmabufio".into()));
    }

    #[test]
    fn empty_variable_counts_as_unset() {
        assert_eq!(
            located(&[("DMABUFIO_CACHE", ""), ("HOME", "/h")]),
            Some("/h/.cache/dmabufio".into())
        );
        assert_eq!(located(&[]), None);
    }

    #[test]
    fn relative_cache_is_refused() {
        assert_eq!(located(&[("DMABUFIO_CACHE", "cache")]), None);
    }

    #[test]
    fn held_lock_is_not_given_twice() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("l");
        let first = try_lock(&path)?;
        assert!(first.is_some() && try_lock(&path)?.is_none());
        drop(first);
        assert!(try_lock(&path)?.is_some());
        Ok(())
    }
}

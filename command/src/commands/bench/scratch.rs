//! A folder for the files that a table needs besides that of the benchmark.

use anyhow::{Context, Result};
use std::fs::{create_dir, remove_dir_all};
use std::path::{Path, PathBuf};
use std::process::id;

/// A new folder on the same file system, removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn beside(file: &Path) -> Result<Self> {
        let path = file.with_file_name(format!(".dmabufio-bench-{}", id()));
        create_dir(&path).with_context(|| format!("create the folder {path:?}"))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}

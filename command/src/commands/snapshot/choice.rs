//! Which snapshot a subcommand means.

use crate::name::shown;
use anyhow::{Context, Result};
use dmabufio_client::snapshot::{SnapshotStore, TaskId, Variant};
use std::path::{Path, PathBuf};

/// Options that choose a task.
#[derive(clap::Args)]
pub struct TaskArgs {
    /// The folder of the snapshots
    pub store: PathBuf,

    /// The task
    #[arg(long, value_name = "NUMBER")]
    pub task: u32,

    /// The user, as Android numbers them
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub user: u32,
}

impl TaskArgs {
    pub fn id(&self) -> TaskId {
        TaskId { user: self.user, task: self.task }
    }
}

/// The full snapshot, or the other one if `reduced`.
pub fn variant(reduced: bool) -> Variant {
    match reduced {
        true => Variant::Reduced,
        false => Variant::Full,
    }
}

/// Opens the folder `path`, which may have any size unless `max_bytes` says otherwise.
pub fn open(path: &Path, max_bytes: Option<u64>) -> Result<SnapshotStore> {
    let store = SnapshotStore::open(path, max_bytes.unwrap_or(u64::MAX));
    store.with_context(|| shown(path))
}

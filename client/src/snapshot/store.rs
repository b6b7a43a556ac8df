//! A folder of snapshots, one name per task and user.

use super::container::{self, Pixels, Snapshot};
use super::error::SnapshotError;
use super::folder::{Folder, Found};
use super::picture::Picture;
use super::reduce::reduce;
use super::task::{TaskId, Variant};
use crate::client::Client;
use crate::error::Error;
use crate::replace::Replacement;
use dmabufio_core::error::ErrorKind;
use dmabufio_core::transfer::receipt::Receipt;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder of snapshots.
///
/// A snapshot is the complete old one or the complete new one at every moment, also after a crash
/// and a loss of power. Threads may share a store. Several stores, also of several processes, may use
/// one folder; but if two of them save the same task at the same time, its reduced snapshot may be
/// that of the other one.
#[derive(Debug)]
pub struct SnapshotStore {
    folder: Folder,
    max_bytes: u64,
    /// Held while names change.
    names: Mutex<()>,
}

/// What [`SnapshotStore::save`] did.
#[derive(Debug)]
pub struct Saved {
    /// The receipt for writing the pixels.
    pub receipt: Receipt,
    /// That of the reduced snapshot.
    pub reduced: Option<Receipt>,
    /// The tasks whose snapshots were removed to keep the size cap.
    pub evicted: Vec<TaskId>,
}

/// The snapshots of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub task: TaskId,
    /// The bytes of its files.
    pub bytes: u64,
    /// When it was saved, by the clock of the system.
    pub saved: SystemTime,
    /// Whether it has a reduced snapshot.
    pub reduced: bool,
}

/// What [`SnapshotStore::info`] knows without reading the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The picture.
    pub picture: Picture,
    /// The CRC-32C of the pixels and their padding, which [`SnapshotStore::restore`] checks.
    pub payload_crc: u32,
    /// The bytes of the file.
    pub bytes: u64,
}

impl SnapshotStore {
    /// Opens the folder `path`, which has to exist, and removes what a process that was killed left
    /// there. A save keeps the bytes of all snapshots at or below `max_bytes`.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, SnapshotError> {
        let folder = Folder::open(path)?;
        folder.recover()?;
        Ok(Self { folder, max_bytes, names: Mutex::default() })
    }

    /// Saves the snapshot of `task` and replaces the one before, with a reduced one beside if
    /// `with_reduced`. On return both are on stable storage. Then removes the snapshots of other tasks
    /// that were saved longest ago, until the store is at or below its size cap.
    ///
    /// # Errors
    /// [`SnapshotError::Picture`] for a picture that cannot be, or that cannot be reduced;
    /// [`SnapshotError::TooLarge`] if it is larger than the store may be; [`SnapshotError::Client`] for
    /// everything else. The snapshots before stay then, unless a new name cannot reach the disk.
    pub fn save(
        &self,
        client: &Client,
        task: TaskId,
        pixels: &Pixels<'_>,
        with_reduced: bool,
    ) -> Result<Saved, SnapshotError> {
        let heap = client.capabilities()?.heap;
        let reduced = with_reduced.then(|| reduce(client, pixels)).transpose()?;
        let reduced = reduced.as_ref().map(|(picture, buffer)| Pixels {
            picture: *picture,
            buffer: buffer.as_fd(),
            offset: 0,
        });
        let (limit, mut needed) = (self.max_bytes, pixels.file_len(heap)?);
        if let Some(reduced) = &reduced {
            needed = needed.saturating_add(reduced.file_len(heap)?);
        }
        if needed > limit {
            return Err(SnapshotError::TooLarge { needed, limit });
        }
        let _writing = self.folder.begin_writing()?;
        let write = |variant: Variant, pixels: &Pixels<'_>| {
            let name = task.file_name(variant);
            let new = Replacement::within(self.folder.as_fd(), &name)?;
            let receipt = container::write(client, pixels, &new)?;
            Ok::<_, SnapshotError>((new, receipt))
        };
        let full = write(Variant::Full, pixels)?;
        let reduced = reduced.map(|pixels| write(Variant::Reduced, &pixels)).transpose()?;
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // No moment may show a new snapshot with the reduced one of the old.
        self.folder.remove(&task.file_name(Variant::Reduced))?;
        full.0.publish()?;
        if let Some((new, _)) = &reduced {
            new.publish()?;
        }
        self.folder.sync()?;
        let evicted = self.evict(task)?;
        Ok(Saved { receipt: full.1, reduced: reduced.map(|(_, receipt)| receipt), evicted })
    }

    /// Loads a snapshot of `task` into a new buffer.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`] if there is none; [`SnapshotError::Malformed`] if it is damaged;
    /// [`SnapshotError::Client`] if it cannot be loaded.
    pub fn restore(
        &self,
        client: &Client,
        task: TaskId,
        variant: Variant,
    ) -> Result<Snapshot, SnapshotError> {
        let name = task.file_name(variant);
        let file = self.folder.open_file(&name).map_err(|error| absent(error, task, variant))?;
        container::read(client, &file, &self.folder.path_of(&name))
    }

    /// What the header of a snapshot says.
    ///
    /// # Errors
    /// Those of [`SnapshotStore::restore`], but for damaged pixels, which it does not read.
    pub fn info(&self, task: TaskId, variant: Variant) -> Result<Info, SnapshotError> {
        let name = task.file_name(variant);
        let path = self.folder.path_of(&name);
        let file = self.folder.open_file(&name).map_err(|error| absent(error, task, variant))?;
        let header = container::header(&file, &path)?;
        let bytes = header.file_len();
        Ok(Info { picture: header.picture, payload_crc: header.payload_crc, bytes })
    }

    /// The tasks that have a snapshot, in the order in which they were saved. Other files of the
    /// folder are left out.
    pub fn list(&self) -> Result<Vec<Entry>, SnapshotError> {
        let mut entries = BTreeMap::new();
        let mut reduced = BTreeMap::new();
        for Found { name, metadata } in self.folder.files()? {
            let bytes = metadata.len();
            match TaskId::of_file_name(name.as_bytes()) {
                Some((task, Variant::Full)) => {
                    let saved = metadata.modified().unwrap_or(UNIX_EPOCH);
                    entries.insert(task, Entry { task, bytes, saved, reduced: false });
                }
                Some((task, Variant::Reduced)) => drop(reduced.insert(task, bytes)),
                None => {}
            }
        }
        for (task, bytes) in reduced {
            if let Some(entry) = entries.get_mut(&task) {
                entry.bytes += bytes;
                entry.reduced = true;
            }
        }
        let mut entries: Vec<Entry> = entries.into_values().collect();
        entries.sort_by_key(|entry| (entry.saved, entry.task));
        Ok(entries)
    }

    /// Removes the snapshots of `task`. Whether there was one.
    pub fn remove(&self, task: TaskId) -> Result<bool, SnapshotError> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = self.remove_files(task)?;
        self.folder.sync()?;
        Ok(removed)
    }

    /// Removes the snapshots of all tasks but those in `live`, and returns which ones.
    pub fn sweep(&self, live: &[TaskId]) -> Result<Vec<TaskId>, SnapshotError> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Vec::new();
        for Entry { task, .. } in self.list()? {
            if !live.contains(&task) && self.remove_files(task)? {
                removed.push(task);
            }
        }
        self.folder.sync()?;
        Ok(removed)
    }

    /// Removes other snapshots than that of `newest` until all are at or below the size cap.
    fn evict(&self, newest: TaskId) -> Result<Vec<TaskId>, SnapshotError> {
        let entries = self.list()?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut evicted = Vec::new();
        for entry in entries.iter().filter(|entry| entry.task != newest) {
            if bytes <= self.max_bytes {
                break;
            }
            self.remove_files(entry.task)?;
            bytes -= entry.bytes;
            evicted.push(entry.task);
        }
        Ok(evicted)
    }

    fn remove_files(&self, task: TaskId) -> Result<bool, SnapshotError> {
        // The reduced one first: it must not be left alone.
        self.folder.remove(&task.file_name(Variant::Reduced))?;
        Ok(self.folder.remove(&task.file_name(Variant::Full))?)
    }
}

/// The error of a file that cannot be opened.
fn absent(error: Error, task: TaskId, variant: Variant) -> SnapshotError {
    match error {
        Error::Failed(error)
            if error.kind() == ErrorKind::Io && error.errno() == Some(Errno::NOENT) =>
        {
            SnapshotError::NotFound { task, variant }
        }
        other => other.into(),
    }
}

//! Task snapshots.

use super::arguments::{descriptor, path, structure, Place};
use super::call::call;
use crate::error::Error;
use crate::handles::{get, insert, remove};
use crate::numbers;
use crate::objects::{Client, SnapshotStore};
use crate::types::{Picture, Snapshot};
use dmabufio_client::snapshot::{Pixels, SnapshotStore as InnerStore, TaskId};
use std::ffi::{c_char, c_int};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;

/// Opens the folder `path`, which has to exist, as a store of snapshots. A save keeps the bytes of
/// all snapshots at or below `max_bytes`. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_snapshot_store_open(
    path: *const c_char,
    max_bytes: u64,
    error: *mut *mut Error,
) -> *mut SnapshotStore {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            Ok(insert(SnapshotStore(InnerStore::open(self::path("path", path)?, max_bytes)?)))
        })
    }
}

/// Saves the pixels at byte `offset` of `buffer` as the snapshot of a task of a user, in place of
/// the one before, with one of half the size beside it if `with_reduced`. On return it is on stable
/// storage.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_snapshot_save(
    store: *const SnapshotStore,
    client: *const Client,
    user: u32,
    task: u32,
    picture: *const Picture,
    buffer: c_int,
    offset: u64,
    with_reduced: bool,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let (store, client) = (get("store", store)?, get("client", client)?);
            let picture = structure("picture", picture)?.checked()?;
            let pixels = Pixels { picture, buffer: descriptor("buffer", buffer)?, offset };
            store.0.save(&client.0, TaskId { user, task }, &pixels, with_reduced)?;
            Ok(true)
        })
    }
}

/// Loads the snapshot of a task of a user into a new buffer. `variant` is an
/// `enum dmabufio_variant`. A damaged snapshot is an error.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_snapshot_restore(
    store: *const SnapshotStore,
    client: *const Client,
    user: u32,
    task: u32,
    variant: u32,
    snapshot: *mut Snapshot,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("snapshot", snapshot)?;
            let (store, client) = (get("store", store)?, get("client", client)?);
            let variant = numbers::variant(variant)?;
            let found = store.0.restore(&client.0, TaskId { user, task }, variant)?;
            place.set(Snapshot {
                picture: (&found.picture).into(),
                size: found.buffer.size(),
                buffer: OwnedFd::from(found.buffer).into_raw_fd(),
                receipt: (&found.receipt).into(),
            });
            Ok(true)
        })
    }
}

/// Frees a store. The snapshots stay. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_snapshot_store_free(store: *mut SnapshotStore) {
    remove(store);
}

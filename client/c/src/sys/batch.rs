//! Requests that nobody waits for.

use super::arguments::{list, Place};
use super::call::call;
use super::client::{filled, moved, OwnedLoad, OwnedTransfer};
use crate::error::Error;
use crate::handles::{get, insert, remove};
use crate::objects::{Batch, Client};
use crate::types::{LoadRequest, Outcome, Progress, TransferRequest};
use dmabufio_client::Batch as InnerBatch;
use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Passes loads and transfers to the service and returns at once. The service works on them one
/// after the other: first the loads, then the transfers. A client of `dmabufio_client_local` cannot
/// do this. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_submit(
    client: *const Client,
    loads: *const LoadRequest,
    load_count: usize,
    transfers: *const TransferRequest,
    transfer_count: usize,
    error: *mut *mut Error,
) -> *mut Batch {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            let client = get("client", client)?;
            let loads = list("loads", loads, load_count)?.iter().map(|load| OwnedLoad::new(load));
            let loads = loads.collect::<Result<Vec<_>, _>>()?;
            let transfers = list("transfers", transfers, transfer_count)?
                .iter()
                .map(|transfer| OwnedTransfer::new(transfer))
                .collect::<Result<Vec<_>, _>>()?;
            let buffers: usize = loads.iter().map(|load| load.items.len()).sum();
            let loads: Vec<_> = loads.iter().map(OwnedLoad::borrowed).collect();
            let transfers: Vec<_> = transfers.iter().map(OwnedTransfer::borrowed).collect();
            let batch = InnerBatch { loads: &loads, transfers: &transfers };
            let submitted = client.0.submit(&batch)?;
            Ok(insert(Batch { submitted, requests: buffers + transfers.len() }))
        })
    }
}

/// A descriptor that reports a hang-up (POLLHUP) once the batch has ended, for `poll(2)` and
/// `epoll(7)`. It belongs to the batch: do not close it. -1 on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_batch_fd(batch: *const Batch, error: *mut *mut Error) -> c_int {
    // SAFETY: the caller promises the contract of this module.
    unsafe { call(error, -1, || Ok(get("batch", batch)?.submitted.as_fd().as_raw_fd())) }
}

/// Stores how far the batch is. Does not wait for I/O.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_batch_progress(
    batch: *const Batch,
    progress: *mut Progress,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("progress", progress)?;
            let now = get("batch", batch)?.submitted.progress()?;
            place.set(Progress { bytes: now.bytes, total: now.total, ended: now.ended });
            Ok(true)
        })
    }
}

/// Asks the service to end the batch, and does not wait until it has. Requests that had not
/// finished by then fail with DMABUFIO_ERROR_KIND_CANCELLED.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_batch_cancel(
    batch: *const Batch,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            get("batch", batch)?.submitted.cancel()?;
            Ok(true)
        })
    }
}

/// Waits until the batch has ended, and stores one outcome for each item of each load and then one
/// for each transfer. `outcome_count` is their number. Each call returns descriptors of its own for
/// the same buffers.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_batch_wait(
    batch: *const Batch,
    outcomes: *mut Outcome,
    outcome_count: usize,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("outcomes", outcomes)?;
            let batch = get("batch", batch)?;
            if outcome_count != batch.requests {
                let has = batch.requests;
                return Err(Error::invalid(format_args!(
                    "outcome_count {outcome_count}: the batch has {has} buffers and transfers"
                )));
            }
            let outcome = batch.submitted.wait()?;
            let buffers = outcome.loads.into_iter().flatten().map(|each| filled(Some(each)));
            let transfers = outcome.transfers.into_iter().map(|each| moved(Some(each)));
            let mut all = buffers.chain(transfers);
            for i in 0..outcome_count {
                place.set_at(i, all.next().unwrap_or_else(|| moved(None)));
            }
            Ok(true)
        })
    }
}

/// Frees a batch, and cancels it if it has not ended. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_batch_free(batch: *mut Batch) {
    remove(batch);
}

//! Batches: requests that the service works on while the client does something else.

use crate::buffer::Filled;
use crate::connection::has_died;
use crate::convert::{load_request, loaded_item, received, transfer_request};
use crate::error::{of_call, Error};
use crate::request::{Load, Transfer};
use binder_shim::{into_fd, Status, Strong};
use dmabufio_core::error::{During, Error as CoreError, ErrorKind};
use dmabufio_core::load::MAX_BATCH;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_wire::status::item_error;
use dmabufio_wire::{aidl, receipt_from_aidl, unsigned};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aidl::IDmabufIo::IDmabufIo;
use aidl::ITransfer::ITransfer;

/// Requests to submit together. All buffers of the loads and all transfers are at most 32, with at
/// most [`crate::Capabilities::max_extents`] extents.
///
/// The service works on them one after the other: first the loads, then the transfers. Unlike
/// [`crate::Client::load`] and [`crate::Client::transfer`], it does not ask first what the page
/// cache holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batch<'a> {
    /// Buffers to allocate and to fill.
    pub loads: &'a [Load<'a>],
    /// Transfers between a file and a buffer.
    pub transfers: &'a [Transfer<'a>],
}

/// What became of a [`Batch`]. Each request succeeds or fails by itself.
#[derive(Debug)]
pub struct Outcome {
    /// For each load, each of its buffers.
    pub loads: Vec<Vec<Result<Filled, Error>>>,
    /// For each transfer, its receipt.
    pub transfers: Vec<Result<Receipt, Error>>,
}

/// How far a [`Batch`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have moved. Never decreases.
    pub bytes: u64,
    /// Bytes of all extents. A batch that meets the end of a file, or an error, moves fewer.
    pub total: u64,
    /// Whether the batch has ended.
    pub ended: bool,
}

/// A [`Batch`] that the service works on. Dropping it cancels the batch.
///
/// Its descriptor reports a hang-up (`POLLHUP`) once the batch has ended, or the service has: for
/// poll(2) and epoll(7), among descriptors of other kinds. It has nothing to read.
///
/// The batch dies with the service: all functions then fail with [`Error::Died`]. Its loads are
/// lost, and each of its transfers has moved some of its bytes, all, or none. The caller can submit
/// the batch again. The client does not, because the descriptor and the progress are those of one
/// batch.
pub struct Submitted {
    transfer: Strong<dyn ITransfer>,
    completion: OwnedFd,
}

impl Submitted {
    /// Waits until the batch has ended, and returns the outcome. Each call returns descriptors of
    /// its own for the same buffers.
    pub fn wait(&self) -> Result<Outcome, Error> {
        self.poll(-1)?;
        self.outcome()
    }

    /// As [`Submitted::wait`] if the batch has ended; `None` if it has not. Does not wait for I/O.
    pub fn try_wait(&self) -> Result<Option<Outcome>, Error> {
        match self.poll(0)? {
            true => self.outcome().map(Some),
            false => Ok(None),
        }
    }

    /// Asks the service to end the batch, and does not wait until it has: that takes as long as the
    /// piece in flight. Requests that had not finished by then fail with
    /// [`ErrorKind::Cancelled`]. Once the batch has ended, no buffer and no file changes any more.
    pub fn cancel(&self) -> Result<(), Error> {
        self.transfer.cancel().map_err(|status| self.error(&status, 0))
    }

    /// How far the batch is. Does not wait for I/O.
    pub fn progress(&self) -> Result<Progress, Error> {
        let progress = self.transfer.getProgress().map_err(|status| self.error(&status, 0))?;
        Ok(Progress {
            bytes: received(unsigned("bytes", progress.bytes))?,
            total: received(unsigned("totalBytes", progress.totalBytes))?,
            ended: progress.ended,
        })
    }

    /// Waits for the end for up to `timeout` milliseconds; for ever if it is negative. Says whether
    /// it has come.
    fn poll(&self, timeout: i32) -> Result<bool, Error> {
        let mut fds = [PollFd::new(&self.completion, PollFlags::empty())];
        loop {
            match poll(&mut fds, timeout) {
                // This thread was interrupted; the batch goes on.
                Err(Errno::INTR) => {}
                polled => {
                    polled.during(|| "completion: poll")?;
                    return Ok(!fds[0].revents().is_empty());
                }
            }
        }
    }

    /// The error of a failed call that would have returned `descriptors`.
    fn error(&self, status: &Status, descriptors: usize) -> Error {
        match of_call(status, descriptors) {
            Error::Unreachable(_) if has_died(self.transfer.as_binder()) => Error::Died(
                "the service died before it told the outcome of this batch; its loads are lost, \
                 and what its transfers have done is unknown; submit it again"
                    .to_owned(),
            ),
            error => error,
        }
    }

    fn outcome(&self) -> Result<Outcome, Error> {
        let result = self.transfer.getResult().map_err(|status| self.error(&status, MAX_BATCH))?;
        let load =
            |load: aidl::LoadResult::LoadResult| load.items.into_iter().map(loaded_item).collect();
        let transfer = |transfer: aidl::TransferResult::TransferResult| match &transfer.receipt {
            Some(receipt) => received(receipt_from_aidl(receipt)),
            None => Err(item_error(transfer.error, transfer.message).into()),
        };
        Ok(Outcome {
            loads: result.loads.into_iter().map(load).collect(),
            transfers: result.transfers.into_iter().map(transfer).collect(),
        })
    }
}

impl AsFd for Submitted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.completion.as_fd()
    }
}

/// Submits `batch` to `service`.
pub(crate) fn submit(
    service: &Strong<dyn IDmabufIo>,
    batch: &Batch<'_>,
) -> Result<Submitted, Error> {
    let loads = batch.loads.iter().map(load_request).collect::<Result<_, _>>()?;
    let transfers = batch.transfers.iter().map(transfer_request).collect::<Result<_, _>>()?;
    let request = aidl::SubmitRequest::SubmitRequest { loads, transfers };
    let transfer = service.submit(&request).map_err(|status| of_call(&status, 0))?;
    let completion = transfer.getCompletion().map_err(|status| of_call(&status, 1))?;
    Ok(Submitted { transfer, completion: into_fd(completion) })
}

/// The error of a client that has nobody to work for it.
pub(crate) fn no_service(call: &str, instead: &str) -> Error {
    let what = format!("{call}: there is no service that could work on it; use {instead}");
    CoreError::new(ErrorKind::Unsupported, what).into()
}

//! `submit`: a batch of loads and transfers that nobody waits for.

use super::convert::{buffer, duplicate, CheckedLoad, CheckedRequest};
use super::{class, load, total, transfer};
use crate::admission::{Admitted, Class, Lasting};
use crate::batch::{Batch, Outcome};
use crate::state::State;
use binder_shim::{pfd, ParcelFileDescriptor};
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::MAX_EXTENTS;
use dmabufio_core::heap::Heap;
use dmabufio_core::load::{check, Loaded, MAX_BATCH};
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_wire::{aidl, receipt_to_aidl, status};
use rustix::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::LoadedItem::LoadedItem;
use aidl::SubmitRequest::SubmitRequest;
use aidl::SubmitResult::SubmitResult;
use aidl::TransferProgress::TransferProgress;
use aidl::TransferRequest::TransferRequest;
use aidl::TransferResult::TransferResult;

/// A request of a batch: checked, or refused.
struct Part<T> {
    tag: String,
    /// How many outcomes there will be.
    count: usize,
    request: Result<(T, Class)>,
}

/// The client's reference to a batch.
#[derive(Debug)]
pub(crate) struct Submitted {
    batch: Arc<Batch>,
    heap: Heap,
}

/// Starts a batch.
pub(crate) fn run(state: &Arc<State>, uid: u32, request: &SubmitRequest) -> Result<Submitted> {
    let arrival = Instant::now();
    check_size(request)?;
    let loads: Vec<_> = request.loads.iter().map(|load| checked_load(state, load)).collect();
    let transfers: Vec<_> = request.transfers.iter().map(checked_transfer).collect();
    let classes = classes(&loads).chain(classes(&transfers));
    let class = match classes.into_iter().any(|class| class == Class::Stalling) {
        true => Class::Stalling,
        false => Class::Ordinary,
    };
    let of_loads = requests(&loads).flat_map(|load| load.items.iter().map(|item| &item.extents));
    let of_transfers = requests(&transfers).map(|transfer| &transfer.extents);
    let total = total(of_loads.chain(of_transfers).flatten());
    let place = state.admission.enter_lasting(uid, Lasting::Batch, class)?;
    let batch = Arc::new(Batch::new(place, total)?);
    let shared = Arc::clone(state);
    batch.start(move |admitted| Outcome {
        loads: loads
            .into_iter()
            .map(|part| do_load(&shared, uid, arrival, part, admitted))
            .collect(),
        transfers: transfers
            .into_iter()
            .map(|part| do_transfer(&shared, uid, arrival, part, admitted))
            .collect(),
    })?;
    Ok(Submitted { batch, heap: state.heap.heap() })
}

/// Checks how much a batch asks for.
fn check_size(request: &SubmitRequest) -> Result<()> {
    let SubmitRequest { loads, transfers } = request;
    // A load of nothing has no outcome to report its error in.
    if let Some(i) = loads.iter().position(|load| load.items.is_empty()) {
        return Err(invalid(format!("load {i}: no items")));
    }
    let items = || loads.iter().flat_map(|load| &load.items);
    let n = items().count() + transfers.len();
    if n == 0 || n > MAX_BATCH {
        return Err(invalid(format!("batch: {n} buffers and transfers, 1 to {MAX_BATCH} allowed")));
    }
    let of_transfers = transfers.iter().map(|transfer| transfer.extents.len());
    let extents: usize = items().map(|item| item.extents.len()).chain(of_transfers).sum();
    if extents > MAX_EXTENTS {
        return Err(invalid(format!("batch: {extents} extents, at most {MAX_EXTENTS} allowed")));
    }
    Ok(())
}

fn checked_load(state: &State, load: &LoadRequest) -> Part<CheckedLoad<OwnedFd>> {
    let checked = || {
        let checked = CheckedLoad::new(load)?;
        check(&state.heap, &checked.items)?;
        let class = class(checked.file)?;
        Ok((checked.into_owned()?, class))
    };
    Part { tag: load.tag.clone(), count: load.items.len(), request: checked() }
}

fn checked_transfer(transfer: &TransferRequest) -> Part<CheckedRequest<OwnedFd>> {
    let checked = || {
        let checked = CheckedRequest::new(transfer)?;
        let class = class(checked.file)?;
        Ok((checked.into_owned()?, class))
    };
    Part { tag: transfer.tag.clone(), count: 1, request: checked() }
}

fn requests<T>(parts: &[Part<T>]) -> impl Iterator<Item = &T> {
    parts.iter().flat_map(|part| &part.request).map(|(request, _)| request)
}

fn classes<T>(parts: &[Part<T>]) -> impl Iterator<Item = Class> + '_ {
    parts.iter().flat_map(|part| &part.request).map(|(_, class)| *class)
}

fn do_load(
    state: &State,
    uid: u32,
    arrival: Instant,
    part: Part<CheckedLoad<OwnedFd>>,
    admitted: &Admitted<'_>,
) -> Vec<Result<Loaded>> {
    let mut results = Vec::with_capacity(part.count);
    let priority = part.request.as_ref().map(|(checked, _)| checked.priority).unwrap_or_default();
    let done = part.request.and_then(|(checked, _)| {
        admitted.progress(0)?;
        let mut deliver = |result| results.push(result);
        load::perform(state, uid, &part.tag, arrival, &checked, admitted, &mut deliver)
    });
    if let Err(error) = done {
        results.resize_with(part.count, || Err(error.clone()));
    }
    for result in &results {
        let end = result.as_ref().map(|loaded| &loaded.receipt);
        state.count("submit", uid, priority, end);
    }
    results
}

fn do_transfer(
    state: &State,
    uid: u32,
    arrival: Instant,
    part: Part<CheckedRequest<OwnedFd>>,
    admitted: &Admitted<'_>,
) -> Result<Receipt> {
    let priority = part.request.as_ref().map(|(checked, _)| checked.priority).unwrap_or_default();
    let result = part.request.and_then(|(checked, _)| {
        admitted.progress(0)?;
        transfer::perform(state, uid, &part.tag, arrival, &checked, admitted)
    });
    state.count("submit", uid, priority, result.as_ref());
    result
}

impl Submitted {
    /// How far the batch is.
    pub fn progress(&self) -> TransferProgress {
        let (bytes, total, ended) = self.batch.position();
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        TransferProgress { bytes: signed(bytes), totalBytes: signed(total), ended }
    }

    /// Ends the batch as soon as possible.
    pub fn end(&self) {
        self.batch.cancel();
    }

    /// What became of the batch, with descriptors of its own.
    pub fn result(&self) -> Result<SubmitResult> {
        self.batch.outcome(|outcome| {
            let item = |result: &Result<Loaded>| match result {
                Ok(Loaded { fd, size, receipt }) => Ok(LoadedItem {
                    buffer: Some(buffer(duplicate("buffer", fd.as_fd())?, *size, self.heap)),
                    receipt: Some(receipt_to_aidl(*receipt)),
                    ..Default::default()
                }),
                Err(error) => Ok(status::failed_item(error)),
            };
            let load = |items: &Vec<Result<Loaded>>| {
                Ok(LoadResult { items: items.iter().map(item).collect::<Result<_>>()? })
            };
            let transfer = |result: &Result<Receipt>| match result {
                Ok(receipt) => TransferResult {
                    receipt: Some(receipt_to_aidl(*receipt)),
                    ..Default::default()
                },
                Err(error) => status::failed_transfer(error),
            };
            Ok(SubmitResult {
                loads: outcome.loads.iter().map(load).collect::<Result<_>>()?,
                transfers: outcome.transfers.iter().map(transfer).collect(),
            })
        })
    }

    /// What tells the end of the batch.
    pub fn completion(&self) -> Result<ParcelFileDescriptor> {
        Ok(pfd(duplicate("completion", self.batch.completion().as_fd())?))
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        // Nobody can ask for the result any more.
        self.batch.cancel();
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

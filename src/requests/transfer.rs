//! `transfer`: between the client's buffer and the client's file.

use super::convert::CheckedRequest;
use super::turns::RequestTurns;
use super::{class, total};
use crate::admission::Admitted;
use crate::state::State;
use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::Result;
use dmabufio_core::file::RegularFile;
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer_in_turns, Request};
use dmabufio_wire::{aidl, receipt_to_aidl};
use rustix::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Moves data and returns the receipt.
pub(crate) fn run(
    state: &Arc<State>,
    uid: u32,
    request: &aidl::TransferRequest::TransferRequest,
) -> Result<aidl::Receipt::Receipt> {
    let arrival = Instant::now();
    let checked = CheckedRequest::new(request)?;
    let class = class(checked.file)?;
    let checked = checked.into_owned()?;
    let (shared, tag) = (Arc::clone(state), request.tag.clone());
    let priority = checked.priority;
    let receipt = state.admission.run("transfer", uid, class, move |admitted| {
        perform(&shared, uid, &tag, arrival, &checked, admitted)
    })?;
    state.statistics.count_transfer(priority, &receipt);
    Ok(receipt_to_aidl(receipt))
}

/// Does the work of a request that has been let in.
pub(super) fn perform(
    state: &State,
    uid: u32,
    tag: &str,
    arrival: Instant,
    checked: &CheckedRequest<OwnedFd>,
    admitted: &Admitted<'_>,
) -> Result<Receipt> {
    let heap = state.heap.heap();
    let buffer = Buffer::new(checked.buffer.as_fd(), heap)?;
    let file = RegularFile::new(checked.file.as_fd(), heap)?;
    admitted.settle(file.may_stall())?;
    let request = Request {
        buffer: &buffer,
        file: &file,
        extents: &checked.extents,
        direction: checked.direction,
        mode: checked.mode,
        durability: checked.durability,
    };
    let _priority = PriorityGuard::new(checked.priority);
    admitted.begin(checked.priority, total(&checked.extents));
    let mut turns = RequestTurns::new(state, uid, checked.priority, &file, admitted);
    let mut receipt = transfer_in_turns(&request, &mut turns)?;
    receipt.queue = arrival.elapsed().saturating_sub(receipt.io + receipt.sync);
    log::debug!("transfer {} uid={uid} tag={tag}: {receipt:?}", admitted.id);
    Ok(receipt)
}

//! `transfer`: between the client's buffer and the client's file.

use super::class;
use super::convert::CheckedRequest;
use crate::state::State;
use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::Result;
use dmabufio_core::file::RegularFile;
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::transfer::{transfer_with_progress, Request};
use dmabufio_wire::{aidl, receipt_to_aidl};
use rustix::fd::AsFd;
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
    let heap = state.heap.heap();
    let tag = request.tag.clone();
    let receipt = state.admission.run(uid, class, move |admitted| {
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
        let mut receipt = transfer_with_progress(&request, &mut || admitted.progress())?;
        receipt.queue = arrival.elapsed().saturating_sub(receipt.io + receipt.sync);
        log::debug!("transfer {} uid={uid} tag={tag}: {receipt:?}", admitted.id);
        Ok(receipt)
    })?;
    state.statistics.count_transfer(&receipt);
    Ok(receipt_to_aidl(receipt))
}

//! `probe`: predicts a transfer.

use super::class;
use super::convert::duplicate;
use crate::state::State;
use binder_shim::{borrow, ParcelFileDescriptor};
use dmabufio_core::error::Result;
use dmabufio_core::file::RegularFile;
use dmabufio_core::method::Mode;
use dmabufio_core::probe;
use dmabufio_wire::{aidl, extent_plan_to_aidl, extents_from_aidl};
use rustix::fd::AsFd;
use std::sync::Arc;

/// Predicts a transfer in mode `Auto`, in the direction that the file allows.
pub(crate) fn run(
    state: &Arc<State>,
    uid: u32,
    file: &ParcelFileDescriptor,
    extents: &[aidl::Extent::Extent],
) -> Result<aidl::Plan::Plan> {
    let extents = extents_from_aidl(extents)?;
    let file = borrow(file);
    let class = class(file)?;
    let file = duplicate("file", file)?;
    let (heap, support) = (state.heap.heap(), state.support);
    let plan = state.admission.run("probe", uid, class, move |admitted| {
        let file = RegularFile::new(file.as_fd(), heap)?;
        admitted.settle(file.may_stall())?;
        let direction = file.natural_direction();
        file.check_access(direction)?;
        probe::plan(&file, &extents, direction, Mode::Auto, support)
    })?;
    Ok(aidl::Plan::Plan { extents: plan.into_iter().map(extent_plan_to_aidl).collect() })
}

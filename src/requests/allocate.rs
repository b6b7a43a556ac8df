//! `allocate`: a buffer for the client.

use super::convert::{buffer, check_tag};
use crate::admission::Class;
use crate::state::State;
use dmabufio_core::error::Result;
use dmabufio_core::heap::Allocation;
use dmabufio_core::load::Source;
use dmabufio_wire::{aidl, unsigned};
use std::sync::Arc;
use std::time::Instant;

/// Allocates a zeroed buffer.
pub(crate) fn run(
    state: &Arc<State>,
    uid: u32,
    desc: &aidl::BufferDesc::BufferDesc,
) -> Result<aidl::Buffer::Buffer> {
    let arrival = Instant::now();
    let size = unsigned("size", desc.size)?;
    state.heap.check_size(size)?;
    check_tag(&desc.tag)?;
    let (shared, tag) = (Arc::clone(state), desc.tag.clone());
    let Allocation { fd, size, .. } =
        state.admission.run("allocate", uid, Class::Ordinary, move |_| {
            let reservation = shared.reserve(uid, 1, size)?;
            let State { heap, pool, .. } = &*shared;
            let allocated = &|buffer: &Allocation| reservation.spend(buffer);
            let pool = pool.as_ref();
            Source { heap, pool, uid, tag: &tag, arrival, allocated }.allocate(size)
        })?;
    Ok(buffer(fd, size, state.heap.heap()))
}

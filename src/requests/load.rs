//! `load`: new buffers, filled from the client's file.

use super::convert::{loaded_item, CheckedLoad};
use super::turns::RequestTurns;
use super::{class, total};
use crate::admission::Admitted;
use crate::state::State;
use dmabufio_core::error::{ErrorKind, Result};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Allocation;
use dmabufio_core::load::{check, load, Loaded, Source};
use dmabufio_core::priority::PriorityGuard;
use dmabufio_wire::{aidl, status};
use rustix::fd::{AsFd, OwnedFd};
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::time::Instant;

/// Allocates buffers and fills them.
pub(crate) fn run(
    state: &Arc<State>,
    uid: u32,
    request: &aidl::LoadRequest::LoadRequest,
) -> Result<aidl::LoadResult::LoadResult> {
    let arrival = Instant::now();
    let checked = CheckedLoad::new(request)?;
    check(&state.heap, &checked.items)?;
    let class = class(checked.file)?;
    let checked = checked.into_owned()?;
    let (count, priority) = (checked.items.len(), checked.priority);
    let (shared, tag) = (Arc::clone(state), request.tag.clone());
    // The buffers arrive one by one, so that the client gets those from before a time-out.
    let (sender, receiver) = channel();
    let end = state.admission.run("load", uid, class, move |admitted| {
        let mut deliver = |result: Result<Loaded>| {
            // The receiver is gone if the request has timed out.
            let _ = sender.send(result);
        };
        perform(&shared, uid, &tag, arrival, &checked, admitted, &mut deliver)
    });
    let mut results: Vec<Result<Loaded>> = receiver.try_iter().collect();
    match end {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            results.resize_with(count, || Err(error.clone()));
        }
        end => end?,
    }
    let heap = state.heap.heap();
    let mut item = |result: Result<Loaded>| {
        state.count("load", uid, priority, result.as_ref().map(|loaded| &loaded.receipt));
        match result {
            Ok(loaded) => loaded_item(loaded, heap),
            Err(error) => status::failed_item(&error),
        }
    };
    Ok(aidl::LoadResult::LoadResult { items: results.into_iter().map(&mut item).collect() })
}

/// Does the work of a load that has been let in, and hands each outcome to `deliver`.
pub(super) fn perform(
    state: &State,
    uid: u32,
    tag: &str,
    arrival: Instant,
    checked: &CheckedLoad<OwnedFd>,
    admitted: &Admitted<'_>,
    deliver: &mut dyn FnMut(Result<Loaded>),
) -> Result<()> {
    let CheckedLoad { file, items, mode, priority } = checked;
    let file = RegularFile::new(file.as_fd(), state.heap.heap())?;
    admitted.settle(file.may_stall())?;
    let all = items.iter().map(|item| item.size).fold(0, u64::saturating_add);
    let reservation = state.reserve(uid, items.len(), all)?;
    let _priority = PriorityGuard::new(*priority);
    let State { heap, pool, .. } = state;
    let allocated = &|buffer: &Allocation| reservation.spend(buffer);
    let source = Source { heap, pool: pool.as_ref(), uid, tag, arrival, allocated };
    log::debug!("load {} uid={uid} tag={tag}: {} items", admitted.id, items.len());
    admitted.begin(*priority, total(items.iter().flat_map(|item| &item.extents)));
    let mut turns = RequestTurns::new(state, uid, *priority, &file, admitted);
    load(source, &file, items, *mode, &mut turns, deliver)
}

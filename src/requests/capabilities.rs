//! `getCapabilities`: the results of the probe at the start. Waits for nothing.

use super::convert::size_of_memory;
use crate::state::State;
use dmabufio_core::method::Support;
use dmabufio_wire::{aidl, Wire};

use aidl::Capabilities::Capabilities;
use aidl::Method::Method;

/// The abilities of the service on this device.
pub(crate) fn get(state: &State) -> Capabilities {
    let State { heap, support, support_in_load, .. } = state;
    Capabilities {
        heap: heap.heap().to_aidl(),
        methods: methods(support),
        loadMethods: methods(support_in_load),
        pageSize: size_of_memory(heap.page_size()),
        maxBufferBytes: size_of_memory(heap.max_bytes()),
        maxExtents: aidl::IDmabufIo::MAX_EXTENTS,
    }
}

fn methods(support: &Support) -> Vec<Method> {
    support.methods().map(|method| Some(method).to_aidl()).collect()
}

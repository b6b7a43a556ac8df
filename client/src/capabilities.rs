//! The abilities of a client on this machine.

use dmabufio_core::heap::Heap;
use dmabufio_core::method::Method;

/// The abilities of a back end on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The heap of the buffers.
    pub heap: Heap,
    /// The methods of [`crate::Client::transfer`] that work on its buffers, best first.
    pub methods: Vec<Method>,
    /// The methods of [`crate::Client::load`] that work on its buffers, best first.
    pub load_methods: Vec<Method>,
    /// The page size in bytes, which is the alignment of direct I/O.
    pub page_size: u64,
    /// The size of the largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// The largest number of extents in one transfer.
    pub max_extents: usize,
}

//! The binder service: the AIDL interface on top of the core.
//!
//! [`DmabufIo`] is the service, and `state` what its requests share. `interface` holds the AIDL
//! methods, a few lines each; `requests` has a file for each of them, which checks the request, has
//! `admission` let it in, and does it. Everything that a caller passes is hostile until
//! `requests::convert` and the core's constructors have checked it.

mod admission;
mod batch;
mod dump_writer;
mod failure_log;
mod interface;
mod memory;
mod requests;
mod scheduler;
mod state;
mod statistics;

use dmabufio_core::extent::MAX_EXTENTS;
use dmabufio_core::load::MAX_BATCH;
use dmabufio_wire::aidl;

pub use admission::MAX_WAITING;
pub use state::DmabufIo;

const _: () = assert!(aidl::IDmabufIo::MAX_EXTENTS as usize == MAX_EXTENTS);
const _: () = assert!(aidl::IDmabufIo::MAX_BATCH as usize == MAX_BATCH);

//! The binder service: the AIDL interface on top of the core.
//!
//! [`DmabufIo`] is the service, and all requests share its `state`. `interface` has the AIDL
//! methods, a few lines each. `requests` has a file for each method, which checks the request, asks
//! `admission` to let it in, and does its work. All data of a caller is hostile until
//! `requests::convert` and the constructors of the core have checked it.

mod admission;
mod batch;
mod dump_writer;
mod failure_log;
mod histogram;
mod in_flight;
mod interface;
mod memory;
mod quota;
mod requests;
mod scheduler;
mod state;
mod statistics;
mod stream;

use dmabufio_core::extent::MAX_EXTENTS;
use dmabufio_core::load::MAX_BATCH;
use dmabufio_wire::aidl;

pub use admission::MAX_WAITING;
pub use quota::{Limits, Quota, Rule};
pub use state::DmabufIo;

const _: () = assert!(aidl::IDmabufIo::MAX_EXTENTS as usize == MAX_EXTENTS);
const _: () = assert!(aidl::IDmabufIo::MAX_BATCH as usize == MAX_BATCH);

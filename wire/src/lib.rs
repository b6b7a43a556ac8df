//! Converts between the types of the AIDL interface `vendor.dmabufio` and the types of the core.
//!
//! The service and its clients share this crate, so that each conversion exists once. AIDL numbers
//! are signed, and AIDL enums can hold any value. Therefore this crate checks every received value;
//! an error names the operand.

mod enums;
pub mod status;
mod values;

pub use enums::Wire;
pub use values::{
    extent_plan_from_aidl, extent_plan_to_aidl, extents_from_aidl, extents_to_aidl,
    receipt_from_aidl, receipt_to_aidl, signed, unsigned,
};
pub use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

/// The name under which the service registers.
pub const INSTANCE: &str = "vendor.dmabufio.IDmabufIo/default";

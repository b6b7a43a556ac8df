//! Between the types of the AIDL interface `vendor.dmabufio` and those of the core.
//!
//! The service and its clients share this crate, so that each AIDL type meets its core type once.
//! AIDL numbers are signed and AIDL enums may hold any value. Everything that arrives is checked,
//! with an error that names the operand.

mod enums;
pub mod status;
mod values;

pub use enums::Wire;
pub use values::{
    extent_plan_from_aidl, extent_plan_to_aidl, extents_from_aidl, extents_to_aidl,
    receipt_from_aidl, receipt_to_aidl, signed, unsigned,
};
pub use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

/// The name that the service registers under.
pub const INSTANCE: &str = "vendor.dmabufio.IDmabufIo/default";

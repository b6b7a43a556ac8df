//! The AIDL interface `vendor.dmabufio`, as Rust types.
//!
//! Every path is the one that Soong's crate of the same name has, for example
//! `vendor_dmabufio::aidl::vendor::dmabufio::IDmabufIo::IDmabufIo`, so users compile unchanged
//! against either. What the types mean is said in the `.aidl` files beside this crate.

#[allow(
    missing_docs,
    unsafe_code,
    unused,
    clippy::all,
    clippy::absolute_paths,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]
pub mod aidl {
    include!(concat!(env!("OUT_DIR"), "/vendor_dmabufio.rs"));
}

//! The AIDL interface `vendor.dmabufio`, as Rust types.
//!
//! Soong generates a crate of the same name with the same paths, for example
//! `vendor_dmabufio::aidl::vendor::dmabufio::IDmabufIo::IDmabufIo`. Therefore users compile
//! unchanged against both crates. The `.aidl` files beside this crate document the types.

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

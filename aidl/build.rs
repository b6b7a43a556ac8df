//! Generates the Rust form of `vendor/dmabufio/*.aidl` for the Linux binder stack.
//!
//! On Android, Soong generates the crate of the same name from the same files instead.

use rsbinder_aidl::{AidlError, Builder};
use std::path::Path;

fn main() -> Result<(), AidlError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=vendor");
    Builder::new()
        .source(root.join("vendor/dmabufio"))
        .include_dir(root)
        .output("vendor_dmabufio.rs")
        .set_async_support(false)
        .generate()
}

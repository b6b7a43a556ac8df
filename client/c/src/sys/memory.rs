//! Access to the memory of buffers by the CPU.

use super::arguments::descriptor;
use super::call::call;
use crate::error::Error;
use crate::handles::{get, insert, remove};
use crate::numbers;
use crate::objects::Mapping;
use std::ffi::{c_int, c_void};
use std::ptr;

/// Maps `len` bytes of a buffer from byte `offset`, which need not be a multiple of the page, and
/// begins access by the CPU (DMA_BUF_IOCTL_SYNC). `access` is an `enum dmabufio_access`. NULL on
/// failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_map(
    buffer: c_int,
    offset: u64,
    len: u64,
    access: u32,
    error: *mut *mut Error,
) -> *mut Mapping {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            let buffer = descriptor("buffer", buffer)?;
            Ok(insert(Mapping::new(buffer, offset, len, numbers::access(access)?)?))
        })
    }
}

/// The address of the first byte, until `dmabufio_unmap`. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_mapping_data(
    mapping: *const Mapping,
    error: *mut *mut Error,
) -> *mut c_void {
    // SAFETY: the caller promises the contract of this module.
    unsafe { call(error, ptr::null_mut(), || Ok(get("mapping", mapping)?.address())) }
}

/// Ends the access and unmaps the memory. Devices see the writes of the CPU after that. NULL is
/// allowed.
#[no_mangle]
pub extern "C" fn dmabufio_unmap(mapping: *mut Mapping) {
    remove(mapping);
}

//! The error object.

use crate::error::{Error, ErrorKind};
use crate::handles::{get, remove};
use rustix::io::Errno;
use std::ffi::{c_char, c_int};

/// The kind of an error; that of NULL is DMABUFIO_ERROR_KIND_NONE.
#[no_mangle]
pub extern "C" fn dmabufio_error_kind(error: *const Error) -> ErrorKind {
    match get("error", error) {
        Ok(error) => error.kind,
        Err(_) if error.is_null() => ErrorKind::None,
        Err(_) => ErrorKind::InvalidRequest,
    }
}

/// The errno that the kernel reported; 0 if it reported none.
#[no_mangle]
pub extern "C" fn dmabufio_error_errno(error: *const Error) -> c_int {
    get("error", error).ok().and_then(|error| error.errno).map_or(0, Errno::raw_os_error)
}

/// The text of an error: one line of UTF-8 that names the operation and the operand. It is valid
/// until the error is freed. The text of NULL is empty.
#[no_mangle]
pub extern "C" fn dmabufio_error_message(error: *const Error) -> *const c_char {
    match get("error", error) {
        Ok(error) => error.message.as_ptr(),
        Err(_) if error.is_null() => c"".as_ptr(),
        Err(_) => c"error: not a handle of this type, or already freed".as_ptr(),
    }
}

/// Frees an error. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_error_free(error: *mut Error) {
    remove(error);
}

//! What all functions have in common.

use crate::error::Error;
use crate::handles::insert;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

/// Runs `action` and returns its value. On a failure or a panic returns `otherwise` and stores the
/// error in `*error`; on success stores null there. `error` may be null.
///
/// # Safety
/// `error` is null, misaligned, or may be written.
pub unsafe fn call<R>(
    error: *mut *mut Error,
    otherwise: R,
    action: impl FnOnce() -> Result<R, Error>,
) -> R {
    // What a panic leaves half done belongs to this call alone, or is behind a lock.
    let outcome = catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|panic| Err(Error::of_panic(&*panic)));
    let (value, failure) = match outcome {
        Ok(value) => (value, None),
        Err(failure) => (otherwise, Some(failure)),
    };
    if !error.is_null() && error.is_aligned() {
        let handle = failure.map_or_else(ptr::null_mut, insert);
        // SAFETY: not null and aligned; the rest is the promise of the caller.
        unsafe { error.write(handle) };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::handles::{get, remove};

    #[test]
    fn panic_becomes_an_error_and_does_not_leave_the_call() {
        let mut error = ptr::null_mut();
        // SAFETY: `error` may be written.
        let value = unsafe { call(&raw mut error, -1, || panic!("number {}", 7)) };
        assert_eq!(value, -1);
        let object = get("error", error).expect("an error");
        assert_eq!(object.kind, ErrorKind::Internal);
        assert_eq!(object.message.to_str(), Ok("bug in dmabufio: number 7"));
        remove(error);
    }

    #[test]
    fn success_clears_the_error_and_no_place_for_one_is_needed() {
        let mut error = ptr::dangling_mut();
        // SAFETY: `error` may be written, and null is allowed.
        unsafe {
            assert_eq!(call(&raw mut error, 0, || Ok(1)), 1);
            assert!(error.is_null());
            assert_eq!(call(ptr::null_mut(), 0, || Err(Error::invalid("nothing"))), 0);
        }
    }
}

//! Checks the pointers and descriptors that C code passes.

use crate::error::{Error, ErrorKind};
use rustix::io::{fcntl_getfd, Errno};
use std::ffi::{c_char, c_int, CStr, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice::from_raw_parts;

fn check<T>(name: &str, pointer: *const T) -> Result<(), Error> {
    if pointer.is_null() {
        return Err(Error::invalid(format_args!("{name}: NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Error::invalid(format_args!("{name}: a misaligned pointer")));
    }
    Ok(())
}

/// The text at `pointer`.
///
/// # Safety
/// `pointer` is null, or leads to text with a final zero byte that does not change during `'a`.
unsafe fn c_string<'a>(name: &str, pointer: *const c_char) -> Result<&'a CStr, Error> {
    check(name, pointer)?;
    // SAFETY: not null; the rest is the promise of the caller.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// The path at `pointer`, of any bytes.
///
/// # Safety
/// That of [`c_string`].
pub unsafe fn path<'a>(name: &str, pointer: *const c_char) -> Result<&'a Path, Error> {
    // SAFETY: the promise of the caller.
    let text = unsafe { c_string(name, pointer)? };
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// The UTF-8 text at `pointer`.
///
/// # Safety
/// That of [`c_string`].
pub unsafe fn text<'a>(name: &str, pointer: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: the promise of the caller.
    let text = unsafe { c_string(name, pointer)? };
    text.to_str().map_err(|_| Error::invalid(format_args!("{name}: not UTF-8")))
}

/// The tag at `pointer`, which may be null.
///
/// # Safety
/// That of [`c_string`].
pub unsafe fn tag<'a>(pointer: *const c_char) -> Result<&'a str, Error> {
    if pointer.is_null() {
        return Ok("");
    }
    // SAFETY: the promise of the caller.
    unsafe { text("tag", pointer) }
}

/// The structure at `pointer`.
///
/// # Safety
/// `pointer` is null, misaligned, or leads to a valid `T` that does not change during `'a`.
pub unsafe fn structure<'a, T>(name: &str, pointer: *const T) -> Result<&'a T, Error> {
    check(name, pointer)?;
    // SAFETY: not null and aligned; the rest is the promise of the caller.
    Ok(unsafe { &*pointer })
}

/// The `count` structures at `pointer`, which may be null if there are none.
///
/// # Safety
/// `pointer` is null, misaligned, or leads to `count` valid `T` that do not change during `'a`.
pub unsafe fn list<'a, T>(name: &str, pointer: *const T, count: usize) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    check(name, pointer)?;
    if count.checked_mul(size_of::<T>()).is_none_or(|size| isize::try_from(size).is_err()) {
        return Err(Error::invalid(format_args!("{name}: {count} are more than memory can hold")));
    }
    // SAFETY: not null, aligned and of a possible size; the rest is the promise of the caller.
    Ok(unsafe { from_raw_parts(pointer, count) })
}

/// A place for results.
pub struct Place<T>(*mut T);

impl<T> Place<T> {
    /// Checks the pointer, before there is anything to write.
    ///
    /// # Safety
    /// `pointer` is null, misaligned, or may be written for as long as the result lives: one `T`,
    /// or as many as the caller of [`Place::set_at`] promises.
    pub unsafe fn new(name: &str, pointer: *mut T) -> Result<Self, Error> {
        check(name, pointer)?;
        Ok(Self(pointer))
    }

    pub fn set(&self, value: T) {
        // SAFETY: `new` checked the pointer, and its caller promised that it may be written. What
        // is there may be uninitialized, and is not dropped.
        unsafe { self.0.write(value) }
    }

    /// Writes to the place `index` behind the first one.
    ///
    /// # Safety
    /// The caller of `new` promised more than `index` places.
    pub unsafe fn set_at(&self, index: usize, value: T) {
        // SAFETY: as in `set`, and the promise of the caller.
        unsafe { self.0.add(index).write(value) }
    }
}

/// The descriptor `fd`, which is open now.
///
/// # Safety
/// The caller keeps it open during `'a`.
pub unsafe fn descriptor<'a>(name: &str, fd: c_int) -> Result<BorrowedFd<'a>, Error> {
    let closed = || {
        let what = format!("{name}: {fd} is not an open descriptor");
        Error { errno: Some(Errno::BADF), ..Error::new(ErrorKind::BadDescriptor, what) }
    };
    if fd < 0 {
        return Err(closed());
    }
    // SAFETY: not -1; the next line checks that it is open, and the caller keeps it open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl_getfd(fd).map_err(|_| closed())?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    fn said<T>(result: Result<T, Error>) -> String {
        let error = result.map(drop).expect_err("an error");
        error.message.into_string().expect("text")
    }

    #[test]
    fn impossible_pointers_and_descriptors_are_errors() {
        let two = [1_u64, 2];
        let misaligned = ptr::from_ref(&two).cast::<u64>().wrapping_byte_add(1);
        // SAFETY: each call gets a pointer that its contract allows.
        unsafe {
            assert_eq!(said(text("it", ptr::null())), "it: NULL");
            assert_eq!(said(text("it", c"\xff".as_ptr())), "it: not UTF-8");
            assert_eq!(tag(ptr::null()).expect("nothing"), "");
            assert_eq!(said(structure("it", misaligned)), "it: a misaligned pointer");
            assert_eq!(said(list::<u64>("it", ptr::null(), 1)), "it: NULL");
            assert_eq!(list::<u64>("it", ptr::null(), 0).expect("nothing"), [0; 0]);
            assert_eq!(list("it", two.as_ptr(), 2).expect("both"), two);
            let many = usize::MAX / 8;
            let what = format!("it: {many} are more than memory can hold");
            assert_eq!(said(list("it", two.as_ptr(), many)), what);
            assert_eq!(said(Place::<u64>::new("it", ptr::null_mut())), "it: NULL");
            for fd in [-1, c_int::MIN, c_int::MAX] {
                let what = format!("it: {fd} is not an open descriptor");
                assert_eq!(said(descriptor("it", fd)), what);
            }
        }
    }
}

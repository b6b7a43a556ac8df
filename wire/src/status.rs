//! Converts failures to binder statuses and back. [`ErrorKind`] documents the table.

use crate::aidl::Error::Error as Code;
use crate::aidl::LoadedItem::LoadedItem;
use binder_shim::{
    describe, ex, exception, service_error, BinderResult, ParcelFileDescriptor, Status,
};
use dmabufio_core::error::{Error, ErrorKind};

/// The status for `error`, with its message.
pub fn to_status(error: &Error) -> Status {
    let message = error.to_string();
    let service = |code: Code| service_error(code.0, &message);
    match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::BadDescriptor => {
            exception(ex::ILLEGAL_ARGUMENT, &message)
        }
        ErrorKind::PermissionDenied => exception(ex::SECURITY, &message),
        ErrorKind::Unsupported => exception(ex::UNSUPPORTED_OPERATION, &message),
        ErrorKind::NotDirect => service(Code::NOT_DIRECT),
        ErrorKind::Busy => service(Code::BUSY),
        ErrorKind::NoMemory => service(Code::NO_MEMORY),
        ErrorKind::NoSpace => service(Code::NO_SPACE),
        ErrorKind::TimedOut => service(Code::TIMED_OUT),
        ErrorKind::Io => service(Code::IO),
    }
}

/// The failure that the service reports with `status`; `None` if the client did not reach the
/// service.
pub fn from_status(status: &Status) -> Option<Error> {
    let kind = match status.exception_code() {
        ex::ILLEGAL_ARGUMENT | ex::NULL_POINTER => ErrorKind::InvalidRequest,
        ex::SECURITY => ErrorKind::PermissionDenied,
        ex::UNSUPPORTED_OPERATION => ErrorKind::Unsupported,
        ex::SERVICE_SPECIFIC => kind(status.service_specific_error()),
        _ => return None,
    };
    Some(Error::new(kind, describe(status)))
}

/// The result of an item of a load that failed. The service has refused mistakes of the caller
/// before, so a kind without a code of its own is a failure of the I/O in the kernel.
pub fn failed_item(error: &Error) -> LoadedItem {
    let code = match error.kind() {
        ErrorKind::NotDirect => Code::NOT_DIRECT,
        ErrorKind::Busy => Code::BUSY,
        ErrorKind::NoMemory => Code::NO_MEMORY,
        ErrorKind::NoSpace => Code::NO_SPACE,
        ErrorKind::TimedOut => Code::TIMED_OUT,
        ErrorKind::InvalidRequest
        | ErrorKind::BadDescriptor
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported
        | ErrorKind::Io => Code::IO,
    };
    LoadedItem { error: code.0, message: error.to_string(), ..Default::default() }
}

/// The failure of an item of a load.
pub fn item_error(item: LoadedItem) -> Error {
    Error::new(kind(item.error), item.message)
}

/// The kind of failure for a service-specific code.
fn kind(code: i32) -> ErrorKind {
    match Code(code) {
        Code::NOT_DIRECT => ErrorKind::NotDirect,
        Code::BUSY => ErrorKind::Busy,
        Code::NO_MEMORY => ErrorKind::NoMemory,
        Code::NO_SPACE => ErrorKind::NoSpace,
        Code::TIMED_OUT => ErrorKind::TimedOut,
        _ => ErrorKind::Io,
    }
}

/// Refuses a request if a descriptor is missing. The Rust types allow a missing descriptor.
pub fn check_not_null(name: &str, fd: &Option<ParcelFileDescriptor>) -> BinderResult<()> {
    match fd {
        Some(_) => Ok(()),
        None => Err(exception(ex::NULL_POINTER, &format!("{name}: no descriptor"))),
    }
}

#[cfg(test)]
mod tests;

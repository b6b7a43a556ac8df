//! Turns failures into binder statuses. The table is on [`ErrorKind`].

use crate::error::{Error, ErrorKind};
use binder_shim::{ex, exception, service_error, BinderResult, ParcelFileDescriptor, Status};
use vendor_dmabufio::aidl::vendor::dmabufio::{Error::Error as Code, LoadedItem::LoadedItem};

/// The status for `error`, with its message.
pub(super) fn from(error: &Error) -> Status {
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

/// The outcome of an item of a load that could not be filled. What the caller did wrong has been
/// refused before, so a kind without a code of its own is the kernel's word about the I/O.
pub(super) fn failed_item(error: &Error) -> LoadedItem {
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

/// Refuses a request without one of its descriptors, which the Rust types allow.
pub(super) fn check_not_null(name: &str, fd: &Option<ParcelFileDescriptor>) -> BinderResult<()> {
    match fd {
        Some(_) => Ok(()),
        None => Err(exception(ex::NULL_POINTER, &format!("{name}: no descriptor"))),
    }
}

#[cfg(test)]
mod tests;

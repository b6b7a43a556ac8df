//! Failures as binder statuses, and back. The table is on [`ErrorKind`].

use binder_shim::{describe, ex, exception, service_error, ExceptionCode, Status};
use dmabufio_core::error::{Error, ErrorKind};
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

use aidl::Error::Error as Code;
use aidl::LoadedItem::LoadedItem;
use aidl::TransferResult::TransferResult;

/// The form in which the interface reports a kind of failure.
enum Report {
    Exception(ExceptionCode),
    Service(Code),
}

fn report(kind: ErrorKind) -> Report {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::BadDescriptor => {
            Report::Exception(ex::ILLEGAL_ARGUMENT)
        }
        ErrorKind::PermissionDenied => Report::Exception(ex::SECURITY),
        ErrorKind::Unsupported => Report::Exception(ex::UNSUPPORTED_OPERATION),
        ErrorKind::NotDirect => Report::Service(Code::NOT_DIRECT),
        ErrorKind::Busy => Report::Service(Code::BUSY),
        ErrorKind::NoMemory => Report::Service(Code::NO_MEMORY),
        ErrorKind::NoSpace => Report::Service(Code::NO_SPACE),
        ErrorKind::QuotaExceeded => Report::Service(Code::QUOTA_EXCEEDED),
        ErrorKind::TimedOut => Report::Service(Code::TIMED_OUT),
        ErrorKind::Cancelled => Report::Service(Code::CANCELLED),
        ErrorKind::Io => Report::Service(Code::IO),
    }
}

/// The status for `error`, with its message.
pub fn to_status(error: &Error) -> Status {
    let message = error.to_string();
    match report(error.kind()) {
        Report::Exception(code) => exception(code, &message),
        Report::Service(code) => service_error(code.0, &message),
    }
}

/// The failure that the service reports with `status`; `None` if the client could not reach the
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

/// The result of a failed item of a load, with the code of [`to_status`]. Codes of exceptions are
/// negative.
pub fn failed_item(error: &Error) -> LoadedItem {
    LoadedItem { error: code(error), message: error.to_string(), ..Default::default() }
}

/// The outcome of a transfer of a batch that failed, as [`failed_item`].
pub fn failed_transfer(error: &Error) -> TransferResult {
    TransferResult { error: code(error), message: error.to_string(), ..Default::default() }
}

fn code(error: &Error) -> i32 {
    match report(error.kind()) {
        Report::Exception(code) => code as i32,
        Report::Service(code) => code.0,
    }
}

/// The failure with this `code` and `message`, of an item of a load or of a transfer of a batch.
pub fn item_error(code: i32, message: String) -> Error {
    let exceptions = [
        (ex::ILLEGAL_ARGUMENT, ErrorKind::InvalidRequest),
        (ex::SECURITY, ErrorKind::PermissionDenied),
        (ex::UNSUPPORTED_OPERATION, ErrorKind::Unsupported),
    ];
    let found = exceptions.into_iter().find(|(exception, _)| *exception as i32 == code);
    Error::new(found.map_or_else(|| kind(code), |(_, kind)| kind), message)
}

/// The kind of failure of a service-specific code.
fn kind(code: i32) -> ErrorKind {
    match Code(code) {
        Code::NOT_DIRECT => ErrorKind::NotDirect,
        Code::BUSY => ErrorKind::Busy,
        Code::NO_MEMORY => ErrorKind::NoMemory,
        Code::NO_SPACE => ErrorKind::NoSpace,
        Code::TIMED_OUT => ErrorKind::TimedOut,
        Code::QUOTA_EXCEEDED => ErrorKind::QuotaExceeded,
        Code::CANCELLED => ErrorKind::Cancelled,
        _ => ErrorKind::Io,
    }
}

/// The status for `error`, a missing descriptor. AIDL has an exception for nulls.
pub fn null_pointer(error: &Error) -> Status {
    exception(ex::NULL_POINTER, &error.to_string())
}

#[cfg(test)]
mod tests;

//! Turns failures into binder statuses. The table is on [`ErrorKind`].

use crate::error::{Error, ErrorKind};
use binder_shim::{ex, exception, service_error, BinderResult, Status};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Error::Error as Code, TransferRequest::TransferRequest,
};

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
        ErrorKind::Io => service(Code::IO),
    }
}

/// Refuses a request without its descriptors, which the Rust types allow.
pub(super) fn check_not_null(request: &TransferRequest) -> BinderResult<()> {
    for (name, fd) in [("buffer", &request.buffer), ("file", &request.file)] {
        if fd.is_none() {
            return Err(exception(ex::NULL_POINTER, &format!("{name}: no descriptor")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Between the types of the AIDL interface and those of the core, on the client's side.
//!
//! What a service sends is checked too: a newer one may know methods and reasons that this client
//! does not.

use crate::buffer::Buffer;
use crate::client::{Capabilities, Filled};
use crate::error::Error;
use binder_shim::{describe, ex, into_fd, Status};
use dmabufio::error::{Error as CoreError, ErrorKind};
use dmabufio::extent::{Direction, Extent};
use dmabufio::heap::Heap;
use dmabufio::load::Item;
use dmabufio::method::{FallbackReason, Method, Mode};
use dmabufio::transfer::plan::ExtentPlan;
use dmabufio::transfer::receipt::Receipt;
use dmabufio::transfer::Durability;
use std::time::Duration;
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

/// The failure that a status reports.
pub(crate) fn error(status: Status) -> Error {
    let message = describe(&status);
    let kind = match status.exception_code() {
        ex::ILLEGAL_ARGUMENT | ex::NULL_POINTER => ErrorKind::InvalidRequest,
        ex::SECURITY => ErrorKind::PermissionDenied,
        ex::UNSUPPORTED_OPERATION => ErrorKind::Unsupported,
        ex::SERVICE_SPECIFIC => kind(status.service_specific_error()),
        _ => return Error::Unreachable(message),
    };
    CoreError::new(kind, message).into()
}

/// The kind of failure that a service-specific code stands for.
fn kind(code: i32) -> ErrorKind {
    match aidl::Error::Error(code) {
        aidl::Error::Error::NOT_DIRECT => ErrorKind::NotDirect,
        aidl::Error::Error::BUSY => ErrorKind::Busy,
        aidl::Error::Error::NO_MEMORY => ErrorKind::NoMemory,
        aidl::Error::Error::NO_SPACE => ErrorKind::NoSpace,
        aidl::Error::Error::TIMED_OUT => ErrorKind::TimedOut,
        _ => ErrorKind::Io,
    }
}

pub(crate) fn capabilities(from: &aidl::Capabilities::Capabilities) -> Result<Capabilities, Error> {
    Ok(Capabilities {
        heap: heap(from.heap)?,
        methods: methods(&from.methods),
        load_methods: methods(&from.loadMethods),
        page_size: unsigned(from.pageSize)?,
        max_buffer_bytes: unsigned(from.maxBufferBytes)?,
        max_extents: usize::try_from(from.maxExtents).unwrap_or(0),
    })
}

/// Unknown methods are left out: the service chooses.
fn methods(from: &[aidl::Method::Method]) -> Vec<Method> {
    from.iter().filter_map(|&value| method(value).ok().flatten()).collect()
}

pub(crate) fn extents(extents: &[Extent]) -> Result<Vec<aidl::Extent::Extent>, Error> {
    let convert = |extent: &Extent| {
        Ok(aidl::Extent::Extent {
            fileOffset: bytes("file_offset", extent.file_offset)?,
            bufferOffset: bytes("buffer_offset", extent.buffer_offset)?,
            length: bytes("length", extent.len)?,
        })
    };
    extents.iter().map(convert).collect()
}

pub(crate) fn load_item(item: &Item) -> Result<aidl::LoadItem::LoadItem, Error> {
    Ok(aidl::LoadItem::LoadItem {
        size: bytes("size", item.size)?,
        extents: extents(&item.extents)?,
    })
}

pub(crate) fn loaded_item(item: aidl::LoadedItem::LoadedItem) -> Result<Filled, Error> {
    match (item.buffer, item.receipt) {
        (Some(filled), Some(how)) => {
            Ok(Filled { buffer: buffer(filled)?, receipt: receipt(&how)? })
        }
        _ => Err(CoreError::new(kind(item.error), item.message).into()),
    }
}

pub(crate) fn buffer(buffer: aidl::Buffer::Buffer) -> Result<Buffer, Error> {
    let fd = buffer.fd.ok_or_else(|| {
        Error::Unreachable("the service sent a buffer without a descriptor".to_owned())
    })?;
    Ok(Buffer::new(into_fd(fd), unsigned(buffer.size)?, heap(buffer.heap)?))
}

pub(crate) fn direction(direction: Direction) -> aidl::Direction::Direction {
    match direction {
        Direction::Load => aidl::Direction::Direction::LOAD,
        Direction::Save => aidl::Direction::Direction::SAVE,
    }
}

pub(crate) fn mode(mode: Mode) -> aidl::Mode::Mode {
    match mode {
        Mode::Auto => aidl::Mode::Mode::AUTO,
        Mode::Direct => aidl::Mode::Mode::DIRECT,
        Mode::Buffered => aidl::Mode::Mode::BUFFERED,
    }
}

pub(crate) fn durability(durability: Durability) -> aidl::Durability::Durability {
    match durability {
        Durability::None => aidl::Durability::Durability::NONE,
        Durability::Data => aidl::Durability::Durability::DATA,
        Durability::Full => aidl::Durability::Durability::FULL,
    }
}

pub(crate) fn heap(heap: aidl::Heap::Heap) -> Result<Heap, Error> {
    match heap {
        aidl::Heap::Heap::SYSTEM => Ok(Heap::System),
        aidl::Heap::Heap::UDMABUF => Ok(Heap::Udmabuf),
        aidl::Heap::Heap::MEMFD => Ok(Heap::Memfd),
        other => Err(unknown("heap", other.0)),
    }
}

fn method(value: aidl::Method::Method) -> Result<Option<Method>, Error> {
    match value {
        aidl::Method::Method::NONE => Ok(None),
        aidl::Method::Method::RW_FILE_DIRECT => Ok(Some(Method::RwFileDirect)),
        aidl::Method::Method::RW_FILE_BUFFERED => Ok(Some(Method::RwFileBuffered)),
        aidl::Method::Method::MAPPED_DIRECT => Ok(Some(Method::MappedDirect)),
        aidl::Method::Method::MAPPED_BUFFERED => Ok(Some(Method::MappedBuffered)),
        other => Err(unknown("method", other.0)),
    }
}

fn reason(value: aidl::FallbackReason::FallbackReason) -> Result<Option<FallbackReason>, Error> {
    use aidl::FallbackReason::FallbackReason as Aidl;
    match value {
        Aidl::NONE => Ok(None),
        Aidl::REQUESTED => Ok(Some(FallbackReason::Requested)),
        Aidl::NO_IOCTL => Ok(Some(FallbackReason::NoIoctl)),
        Aidl::EXPORTER => Ok(Some(FallbackReason::Exporter)),
        Aidl::BUFFER_BUSY => Ok(Some(FallbackReason::BufferBusy)),
        Aidl::FILE_NOT_DIRECT => Ok(Some(FallbackReason::FileNotDirect)),
        Aidl::FILE_VERITY => Ok(Some(FallbackReason::FileVerity)),
        Aidl::FILE_COMPRESSED => Ok(Some(FallbackReason::FileCompressed)),
        Aidl::FILE_ENCRYPTED => Ok(Some(FallbackReason::FileEncrypted)),
        Aidl::FILE_INLINE_DATA => Ok(Some(FallbackReason::FileInlineData)),
        Aidl::FILE_SYSTEM_STALLS => Ok(Some(FallbackReason::FileSystemStalls)),
        Aidl::UNALIGNED => Ok(Some(FallbackReason::Unaligned)),
        Aidl::DESCRIPTOR_NOT_DIRECT => Ok(Some(FallbackReason::DescriptorNotDirect)),
        Aidl::RESIDENT => Ok(Some(FallbackReason::Resident)),
        other => Err(unknown("fallback reason", other.0)),
    }
}

pub(crate) fn extent_plan(plan: &aidl::ExtentPlan::ExtentPlan) -> Result<ExtentPlan, Error> {
    Ok(ExtentPlan {
        direct: unsigned(plan.bytesDirect)?,
        bounced: unsigned(plan.bytesBounced)?,
        buffered: unsigned(plan.bytesBuffered)?,
        method: method(plan.method)?,
        reason: reason(plan.reason)?,
    })
}

pub(crate) fn receipt(from: &aidl::Receipt::Receipt) -> Result<Receipt, Error> {
    Ok(Receipt {
        direct: unsigned(from.bytesDirect)?,
        bounced: unsigned(from.bytesBounced)?,
        buffered: unsigned(from.bytesBuffered)?,
        method: method(from.method)?,
        first_fallback: reason(from.firstFallback)?,
        checked: from.checked,
        queue: Duration::from_nanos(unsigned(from.queueNanos)?),
        io: Duration::from_nanos(unsigned(from.ioNanos)?),
        sync: Duration::from_nanos(unsigned(from.syncNanos)?),
    })
}

/// A size or offset as AIDL has it.
pub(crate) fn bytes(name: &str, value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| {
        CoreError::new(ErrorKind::InvalidRequest, format!("{name}={value}: beyond 63 bits")).into()
    })
}

fn unsigned(value: i64) -> Result<u64, Error> {
    u64::try_from(value)
        .map_err(|_| Error::Unreachable(format!("the service sent a negative number, {value}")))
}

fn unknown(name: &str, value: i32) -> Error {
    let what = format!("{name}={value}: sent by the service, unknown to this client");
    CoreError::new(ErrorKind::Unsupported, what).into()
}

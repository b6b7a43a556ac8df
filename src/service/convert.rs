//! Between the types of the AIDL interface and those of the core.
//!
//! AIDL numbers are signed and its enums may hold any value, so everything that comes in is
//! checked here, with an error that names the operand.

use super::aidl;
use super::priority::Priority;
use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::{Direction, Extent};
use crate::heap::Heap;
use crate::load::{Item, Loaded};
use crate::method::{FallbackReason, Method, Mode};
use crate::transfer::plan::ExtentPlan;
use crate::transfer::receipt::Receipt;
use crate::transfer::Durability;
use binder_shim::{borrow, pfd, ParcelFileDescriptor};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;
use std::time::Duration;

/// The longest tag of a request, in bytes.
const MAX_TAG: usize = 31;

/// A transfer request whose numbers, enums and text have been checked, and whose descriptors have
/// not.
pub(super) struct CheckedRequest<Fd> {
    pub buffer: Fd,
    pub file: Fd,
    pub extents: Vec<Extent>,
    pub direction: Direction,
    pub mode: Mode,
    pub priority: Priority,
    pub durability: Durability,
}

impl<'a> CheckedRequest<BorrowedFd<'a>> {
    pub fn new(request: &'a aidl::TransferRequest::TransferRequest) -> Result<Self> {
        check_tag(&request.tag)?;
        if request.tag.len() > MAX_TAG {
            return Err(invalid(format!("tag: longer than {MAX_TAG} bytes")));
        }
        check_digest(request.digest)?;
        Ok(Self {
            buffer: descriptor("buffer", &request.buffer)?,
            file: descriptor("file", &request.file)?,
            extents: extents(&request.extents)?,
            direction: direction(request.direction)?,
            mode: mode(request.mode)?,
            priority: priority(request.priority)?,
            durability: durability(request.durability)?,
        })
    }

    /// The same request, with descriptors of its own.
    pub fn into_owned(self) -> Result<CheckedRequest<OwnedFd>> {
        Ok(CheckedRequest {
            buffer: duplicate("buffer", self.buffer)?,
            file: duplicate("file", self.file)?,
            extents: self.extents,
            direction: self.direction,
            mode: self.mode,
            priority: self.priority,
            durability: self.durability,
        })
    }
}

/// A load request whose numbers, enums and text have been checked, and whose descriptor has not.
pub(super) struct CheckedLoad<'a> {
    pub file: BorrowedFd<'a>,
    pub items: Vec<Item>,
    pub mode: Mode,
    pub priority: Priority,
}

impl<'a> CheckedLoad<'a> {
    pub fn new(request: &'a aidl::LoadRequest::LoadRequest) -> Result<Self> {
        check_tag(&request.tag)?;
        let convert = |(i, item): (usize, &aidl::LoadItem::LoadItem)| {
            let size = u64::try_from(item.size)
                .map_err(|_| invalid(format!("item {i}: size={}: negative", item.size)))?;
            let extents = extents(&item.extents).map_err(|error| error.in_item(i))?;
            Ok(Item { size, extents })
        };
        Ok(Self {
            file: descriptor("file", &request.file)?,
            items: request.items.iter().enumerate().map(convert).collect::<Result<_>>()?,
            mode: mode(request.mode)?,
            priority: priority(request.priority)?,
        })
    }
}

fn descriptor<'a>(name: &str, fd: &'a Option<ParcelFileDescriptor>) -> Result<BorrowedFd<'a>> {
    fd.as_ref().map(borrow).ok_or_else(|| invalid(format!("{name}: no descriptor")))
}

/// A second descriptor of the same open file, for a thread that may outlive the request.
pub(super) fn duplicate(name: &str, fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fcntl_dupfd_cloexec(fd, 0).during(|| format!("{name}: duplicate the descriptor"))
}

pub(super) fn extents(extents: &[aidl::Extent::Extent]) -> Result<Vec<Extent>> {
    let convert = |(i, extent): (usize, &aidl::Extent::Extent)| {
        let field = |name: &str, value: i64| {
            u64::try_from(value)
                .map_err(|_| invalid(format!("extent {i}: {name}={value}: negative")))
        };
        Ok(Extent {
            file_offset: field("fileOffset", extent.fileOffset)?,
            buffer_offset: field("bufferOffset", extent.bufferOffset)?,
            len: field("length", extent.length)?,
        })
    };
    extents.iter().enumerate().map(convert).collect()
}

/// Checks that a tag can stand in a log line.
pub(super) fn check_tag(tag: &str) -> Result<()> {
    if tag.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(invalid("tag: not printable ASCII".to_owned()))
    }
}

fn direction(value: aidl::Direction::Direction) -> Result<Direction> {
    match value {
        aidl::Direction::Direction::LOAD => Ok(Direction::Load),
        aidl::Direction::Direction::SAVE => Ok(Direction::Save),
        other => Err(unknown("direction", other.0)),
    }
}

fn mode(value: aidl::Mode::Mode) -> Result<Mode> {
    match value {
        aidl::Mode::Mode::AUTO => Ok(Mode::Auto),
        aidl::Mode::Mode::DIRECT => Ok(Mode::Direct),
        aidl::Mode::Mode::BUFFERED => Ok(Mode::Buffered),
        other => Err(unknown("mode", other.0)),
    }
}

fn priority(value: aidl::Priority::Priority) -> Result<Priority> {
    match value {
        aidl::Priority::Priority::INTERACTIVE => Ok(Priority::Interactive),
        aidl::Priority::Priority::NORMAL => Ok(Priority::Normal),
        aidl::Priority::Priority::BACKGROUND => Ok(Priority::Background),
        other => Err(unknown("priority", other.0)),
    }
}

fn durability(value: aidl::Durability::Durability) -> Result<Durability> {
    match value {
        aidl::Durability::Durability::NONE => Ok(Durability::None),
        aidl::Durability::Durability::DATA => Ok(Durability::Data),
        aidl::Durability::Durability::FULL => Ok(Durability::Full),
        other => Err(unknown("durability", other.0)),
    }
}

fn check_digest(value: aidl::Digest::Digest) -> Result<()> {
    match value {
        aidl::Digest::Digest::NONE => Ok(()),
        aidl::Digest::Digest::CRC32C | aidl::Digest::Digest::SHA256 => Err(Error::new(
            ErrorKind::Unsupported,
            format!("digest={}: not in Capabilities.digests", value.0),
        )),
        other => Err(unknown("digest", other.0)),
    }
}

pub(super) fn heap(heap: Heap) -> aidl::Heap::Heap {
    match heap {
        Heap::System => aidl::Heap::Heap::SYSTEM,
        Heap::Udmabuf => aidl::Heap::Heap::UDMABUF,
        Heap::Memfd => aidl::Heap::Heap::MEMFD,
    }
}

pub(super) fn method(method: Method) -> aidl::Method::Method {
    match method {
        Method::RwFileDirect => aidl::Method::Method::RW_FILE_DIRECT,
        Method::RwFileBuffered => aidl::Method::Method::RW_FILE_BUFFERED,
        Method::MappedDirect => aidl::Method::Method::MAPPED_DIRECT,
        Method::MappedBuffered => aidl::Method::Method::MAPPED_BUFFERED,
    }
}

fn optional_method(value: Option<Method>) -> aidl::Method::Method {
    value.map_or(aidl::Method::Method::NONE, method)
}

fn reason(reason: Option<FallbackReason>) -> aidl::FallbackReason::FallbackReason {
    use aidl::FallbackReason::FallbackReason as Aidl;
    match reason {
        None => Aidl::NONE,
        Some(FallbackReason::Requested) => Aidl::REQUESTED,
        Some(FallbackReason::NoIoctl) => Aidl::NO_IOCTL,
        Some(FallbackReason::Exporter) => Aidl::EXPORTER,
        Some(FallbackReason::BufferBusy) => Aidl::BUFFER_BUSY,
        Some(FallbackReason::FileNotDirect) => Aidl::FILE_NOT_DIRECT,
        Some(FallbackReason::FileVerity) => Aidl::FILE_VERITY,
        Some(FallbackReason::FileCompressed) => Aidl::FILE_COMPRESSED,
        Some(FallbackReason::FileEncrypted) => Aidl::FILE_ENCRYPTED,
        Some(FallbackReason::FileInlineData) => Aidl::FILE_INLINE_DATA,
        Some(FallbackReason::FileSystemStalls) => Aidl::FILE_SYSTEM_STALLS,
        Some(FallbackReason::Unaligned) => Aidl::UNALIGNED,
        Some(FallbackReason::DescriptorNotDirect) => Aidl::DESCRIPTOR_NOT_DIRECT,
        Some(FallbackReason::Resident) => Aidl::RESIDENT,
    }
}

pub(super) fn extent_plan(plan: ExtentPlan) -> aidl::ExtentPlan::ExtentPlan {
    aidl::ExtentPlan::ExtentPlan {
        bytesDirect: bytes(plan.direct),
        bytesBounced: bytes(plan.bounced),
        bytesBuffered: bytes(plan.buffered),
        method: optional_method(plan.method),
        reason: reason(plan.reason),
    }
}

pub(super) fn receipt(receipt: Receipt) -> aidl::Receipt::Receipt {
    aidl::Receipt::Receipt {
        bytes: bytes(receipt.bytes()),
        bytesDirect: bytes(receipt.direct),
        bytesBounced: bytes(receipt.bounced),
        bytesBuffered: bytes(receipt.buffered),
        method: optional_method(receipt.method),
        firstFallback: reason(receipt.first_fallback),
        checked: receipt.checked,
        queueNanos: nanos(receipt.queue),
        ioNanos: nanos(receipt.io),
        syncNanos: nanos(receipt.sync),
        digest: Vec::new(),
    }
}

pub(super) fn loaded_item(loaded: Loaded, from: Heap) -> aidl::LoadedItem::LoadedItem {
    // From here the reply owns the descriptor.
    let buffer = aidl::Buffer::Buffer {
        fd: Some(pfd(loaded.fd)),
        size: bytes(loaded.size),
        heap: heap(from),
    };
    aidl::LoadedItem::LoadedItem {
        buffer: Some(buffer),
        receipt: Some(receipt(loaded.receipt)),
        ..Default::default()
    }
}

/// A size, as AIDL has it. Sizes come from extents that fit 63 bits, or from the memory's size.
pub(super) fn bytes(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn unknown(name: &str, value: i32) -> Error {
    invalid(format!("{name}={value}: unknown value"))
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

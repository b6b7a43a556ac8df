//! Checks requests on arrival.

use binder_shim::{borrow, pfd, ParcelFileDescriptor};
use dmabufio_core::error::{During, Error, ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::heap::Heap;
use dmabufio_core::load::{Item, Loaded};
use dmabufio_core::method::Mode;
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::Durability;
use dmabufio_wire::{aidl, extents_from_aidl, receipt_to_aidl, unsigned, Wire};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

/// The longest tag of a request, in bytes.
const MAX_TAG: usize = 31;

/// The most buffers of a ring.
const MAX_RING: usize = aidl::IDmabufIo::MAX_RING as usize;

/// A transfer request with checked numbers, enums and text, and unchecked descriptors.
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
        Ok(Self {
            buffer: descriptor("buffer", &request.buffer)?,
            file: descriptor("file", &request.file)?,
            extents: extents_from_aidl(&request.extents)?,
            direction: Wire::from_aidl(request.direction)?,
            mode: Wire::from_aidl(request.mode)?,
            priority: Wire::from_aidl(request.priority)?,
            durability: Wire::from_aidl(request.durability)?,
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

/// A load request with checked numbers, enums and text, and an unchecked descriptor.
pub(super) struct CheckedLoad<Fd> {
    pub file: Fd,
    pub items: Vec<Item>,
    pub mode: Mode,
    pub priority: Priority,
}

impl<'a> CheckedLoad<BorrowedFd<'a>> {
    pub fn new(request: &'a aidl::LoadRequest::LoadRequest) -> Result<Self> {
        check_tag(&request.tag)?;
        let convert = |(i, item): (usize, &aidl::LoadItem::LoadItem)| {
            let size = unsigned("size", item.size).map_err(|error| error.in_item(i))?;
            let extents = extents_from_aidl(&item.extents).map_err(|error| error.in_item(i))?;
            Ok(Item { size, extents })
        };
        Ok(Self {
            file: descriptor("file", &request.file)?,
            items: request.items.iter().enumerate().map(convert).collect::<Result<_>>()?,
            mode: Wire::from_aidl(request.mode)?,
            priority: Wire::from_aidl(request.priority)?,
        })
    }

    /// The same request, with a descriptor of its own.
    pub fn into_owned(self) -> Result<CheckedLoad<OwnedFd>> {
        let Self { file, items, mode, priority } = self;
        Ok(CheckedLoad { file: duplicate("file", file)?, items, mode, priority })
    }
}

/// A request for a stream with checked numbers, enums and text, and unchecked descriptors.
pub(super) struct CheckedStream<Fd> {
    pub file: Fd,
    /// Those of the client; none if the service allocates the ring.
    pub buffers: Vec<Fd>,
    /// How many buffers the ring has.
    pub count: usize,
    pub direction: Direction,
    pub mode: Mode,
    pub priority: Priority,
    pub durability: Durability,
    pub offset: u64,
    pub frame_bytes: u64,
}

impl<'a> CheckedStream<BorrowedFd<'a>> {
    pub fn new(
        request: &'a aidl::StreamRequest::StreamRequest,
        buffers: &'a [ParcelFileDescriptor],
    ) -> Result<Self> {
        check_tag(&request.tag)?;
        let (passed, asked) = (buffers.len(), request.bufferCount);
        let count = match usize::try_from(asked) {
            Ok(0) => passed,
            Ok(count) if passed == 0 => count,
            _ => 0,
        };
        if count == 0 || count > MAX_RING {
            return Err(invalid(format!(
                "ring: {passed} buffers passed and bufferCount={asked}; one of them must be 0 and \
                 the other 1 to {MAX_RING}"
            )));
        }
        let direction = Wire::from_aidl(request.direction)?;
        let durability = Wire::from_aidl(request.durability)?;
        if direction == Direction::Load && durability != Durability::None {
            let what =
                format!("durability={durability:?}: a stream that reads has nothing to save");
            return Err(invalid(what));
        }
        Ok(Self {
            file: descriptor("file", &request.file)?,
            buffers: buffers.iter().map(borrow).collect(),
            count,
            direction,
            mode: Wire::from_aidl(request.mode)?,
            priority: Wire::from_aidl(request.priority)?,
            durability,
            offset: unsigned("offset", request.offset)?,
            frame_bytes: unsigned("frameBytes", request.frameBytes)?,
        })
    }

    /// The same request, with descriptors of its own.
    pub fn into_owned(self) -> Result<CheckedStream<OwnedFd>> {
        let of_ring = |(i, fd): (usize, BorrowedFd<'_>)| {
            duplicate("buffer", fd).map_err(|error| error.in_item(i))
        };
        Ok(CheckedStream {
            file: duplicate("file", self.file)?,
            buffers: self.buffers.into_iter().enumerate().map(of_ring).collect::<Result<_>>()?,
            count: self.count,
            direction: self.direction,
            mode: self.mode,
            priority: self.priority,
            durability: self.durability,
            offset: self.offset,
            frame_bytes: self.frame_bytes,
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

/// Checks that a tag is safe in a log line.
pub(super) fn check_tag(tag: &str) -> Result<()> {
    if tag.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(invalid("tag: not printable ASCII".to_owned()))
    }
}

pub(super) fn loaded_item(loaded: Loaded, from: Heap) -> aidl::LoadedItem::LoadedItem {
    aidl::LoadedItem::LoadedItem {
        buffer: Some(buffer(loaded.fd, loaded.size, from)),
        receipt: Some(receipt_to_aidl(loaded.receipt)),
        ..Default::default()
    }
}

/// A buffer for the client. The reply now owns the descriptor.
pub(super) fn buffer(fd: OwnedFd, size: u64, heap: Heap) -> aidl::Buffer::Buffer {
    aidl::Buffer::Buffer { fd: Some(pfd(fd)), size: size_of_memory(size), heap: heap.to_aidl() }
}

/// A size that cannot exceed the memory.
pub(super) fn size_of_memory(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

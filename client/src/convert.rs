//! Converts between the types of the interface and the types of this library.
//!
//! The client checks the values that the service sends: a newer service may know methods and
//! reasons that this client does not know.

use crate::buffer::{Buffer, Filled};
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::request::{Load, Transfer};
use binder_shim::{into_fd, pfd, ParcelFileDescriptor};
use dmabufio_core::error::{During, Error as CoreError, ErrorKind};
use dmabufio_core::load::Item;
use dmabufio_core::method::Method;
use dmabufio_wire::status::item_error;
use dmabufio_wire::{aidl, extents_to_aidl, receipt_from_aidl, signed, unsigned, Wire};
use rustix::io::fcntl_dupfd_cloexec;
use std::os::fd::BorrowedFd;

/// Marks the error for a value that the service sent and that this client does not know.
pub(crate) fn received<T>(result: Result<T, CoreError>) -> Result<T, Error> {
    result.map_err(|error| {
        CoreError::new(ErrorKind::Unsupported, format!("the service sent {error}")).into()
    })
}

pub(crate) fn capabilities(from: &aidl::Capabilities::Capabilities) -> Result<Capabilities, Error> {
    Ok(Capabilities {
        heap: received(Wire::from_aidl(from.heap))?,
        methods: methods(&from.methods),
        load_methods: methods(&from.loadMethods),
        page_size: received(unsigned("pageSize", from.pageSize))?,
        max_buffer_bytes: received(unsigned("maxBufferBytes", from.maxBufferBytes))?,
        max_extents: usize::try_from(from.maxExtents).unwrap_or(0),
    })
}

/// Leaves out methods that this client does not know, because the service chooses the method.
fn methods(from: &[aidl::Method::Method]) -> Vec<Method> {
    from.iter().filter_map(|&value| Wire::from_aidl(value).ok().flatten()).collect()
}

pub(crate) fn load_request(load: &Load<'_>) -> Result<aidl::LoadRequest::LoadRequest, Error> {
    let Load { file, items, mode, priority, tag } = *load;
    Ok(aidl::LoadRequest::LoadRequest {
        file: Some(passed("file", file)?),
        items: items.iter().map(load_item).collect::<Result<_, _>>()?,
        mode: mode.to_aidl(),
        priority: priority.to_aidl(),
        tag: tag.to_owned(),
    })
}

pub(crate) fn transfer_request(
    transfer: &Transfer<'_>,
) -> Result<aidl::TransferRequest::TransferRequest, Error> {
    Ok(aidl::TransferRequest::TransferRequest {
        buffer: Some(passed("buffer", transfer.buffer)?),
        file: Some(passed("file", transfer.file)?),
        extents: extents_to_aidl(transfer.extents)?,
        direction: transfer.direction.to_aidl(),
        mode: transfer.mode.to_aidl(),
        priority: transfer.priority.to_aidl(),
        durability: transfer.durability.to_aidl(),
        tag: transfer.tag.to_owned(),
    })
}

/// A second descriptor of the same open file, because a parcel owns its descriptors.
pub(crate) fn passed(name: &str, fd: BorrowedFd<'_>) -> Result<ParcelFileDescriptor, Error> {
    let fd = fcntl_dupfd_cloexec(fd, 0).during(|| format!("{name}: duplicate the descriptor"))?;
    Ok(pfd(fd))
}

fn load_item(item: &Item) -> Result<aidl::LoadItem::LoadItem, Error> {
    Ok(aidl::LoadItem::LoadItem {
        size: signed("size", item.size)?,
        extents: extents_to_aidl(&item.extents)?,
    })
}

pub(crate) fn loaded_item(mut item: aidl::LoadedItem::LoadedItem) -> Result<Filled, Error> {
    match (item.buffer.take(), item.receipt.take()) {
        (Some(filled), Some(how)) => {
            let receipt = received(receipt_from_aidl(&how))?;
            Ok(Filled { buffer: buffer(filled)?, receipt })
        }
        _ => Err(item_error(item.error, item.message).into()),
    }
}

pub(crate) fn buffer(buffer: aidl::Buffer::Buffer) -> Result<Buffer, Error> {
    let fd = buffer.fd.ok_or_else(|| {
        Error::Unreachable("the service sent a buffer without a descriptor".to_owned())
    })?;
    let size = received(unsigned("size", buffer.size))?;
    Ok(Buffer::new(into_fd(fd), size, received(Wire::from_aidl(buffer.heap))?))
}

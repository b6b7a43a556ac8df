//! [`Client`]: one API over two back ends, the service and the core in this process.

use crate::buffer::{Buffer, Filled};
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::local::Local;
use crate::open::{in_proc, open_regular};
use crate::request::{Load, Transfer};
use crate::service::{no_dump, Service};
use crate::stream::{Stream, StreamRequest};
use crate::submit::{no_service, Batch, Submitted};
use dmabufio_core::extent::Extent;
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{Method, Mode};
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A connection to the service, or the core in this process.
///
/// # When the service dies
/// Buffers stay valid. The client connects again and makes the request again, and the caller sees
/// one result, or [`Error::Died`]. docs/integration.md#when-the-service-dies has the rules. A batch
/// that the service has accepted ends with the service, see [`Submitted`], and so does a stream.
pub struct Client(Backend);

enum Backend {
    Service(Service),
    Local(Local),
}

impl Client {
    /// Connects to the service on kernel binder.
    pub fn service() -> Result<Self, Error> {
        Ok(Self(Backend::Service(Service::find()?)))
    }

    /// Connects to the service on a Unix socket.
    pub fn socket(path: &Path) -> Result<Self, Error> {
        Ok(Self(Backend::Service(Service::connect(path)?)))
    }

    /// Allocates and transfers in this process, without the service.
    pub fn local(heap: Heap) -> Result<Self, Error> {
        Ok(Self(Backend::Local(Local::new(heap)?)))
    }

    /// Returns the abilities of this back end on this machine.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        match &self.0 {
            Backend::Service(service) => service.capabilities(),
            Backend::Local(local) => Ok(local.capabilities()),
        }
    }

    /// Allocates a zeroed buffer of at least `size` bytes. The dma-buf statistics of the kernel
    /// show `tag` as its purpose.
    pub fn allocate(&self, size: u64, tag: &str) -> Result<Buffer, Error> {
        match &self.0 {
            Backend::Service(service) => service.allocate(size, tag),
            Backend::Local(local) => local.allocate(size, tag),
        }
    }

    /// Predicts how [`Client::transfer`] will move each extent, without I/O on the file.
    pub fn probe(
        &self,
        file: BorrowedFd<'_>,
        extents: &[Extent],
    ) -> Result<Vec<ExtentPlan>, Error> {
        match &self.0 {
            Backend::Service(service) => service.probe(file, extents),
            Backend::Local(local) => local.probe(file, extents),
        }
    }

    /// Moves data and returns the receipt. Blocks until the last byte has moved.
    pub fn transfer(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        match &self.0 {
            Backend::Service(service) => service.transfer(request),
            Backend::Local(local) => local.transfer(request),
        }
    }

    /// Allocates a buffer for each item and fills it from the file, allocating the next one while
    /// the one before is filled. A malformed request fails as a whole; after that each item
    /// succeeds or fails by itself.
    pub fn load(&self, request: &Load<'_>) -> Result<Vec<Result<Filled, Error>>, Error> {
        match &self.0 {
            Backend::Service(service) => service.load(request),
            Backend::Local(local) => local.load(request),
        }
    }

    /// Passes a batch to the service, and returns at once.
    ///
    /// # Errors
    /// `Unsupported` for a client of [`Client::local`]; `Busy` while this user has too many
    /// batches.
    pub fn submit(&self, batch: &Batch<'_>) -> Result<Submitted, Error> {
        match &self.0 {
            Backend::Service(service) => service.submit(batch),
            Backend::Local(_) => Err(no_service("submit", "load and transfer")),
        }
    }

    /// Opens a stream. Blocks until the service has allocated the buffers.
    ///
    /// # Errors
    /// `Unsupported` for a client of [`Client::local`]; `QuotaExceeded` while this user has too many
    /// streams.
    pub fn open_stream(&self, request: &StreamRequest<'_>) -> Result<Stream, Error> {
        match &self.0 {
            Backend::Service(service) => service.open_stream(request),
            Backend::Local(_) => Err(no_service("stream", "transfer")),
        }
    }

    /// What the service says of its state, as `dumpsys` shows it with these arguments.
    ///
    /// # Errors
    /// `Unsupported` for a client of [`Client::local`] or [`Client::socket`].
    pub fn dump(&self, args: &[&str]) -> Result<String, Error> {
        match &self.0 {
            Backend::Service(service) => service.dump(args),
            Backend::Local(_) => Err(no_dump()),
        }
    }

    /// Opens a file for [`Client::load`] in `mode`, as [`open_regular`] does, with `O_DIRECT` where
    /// that makes it faster.
    pub fn open_for_load(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.load_methods)
    }

    /// Opens a file for [`Client::transfer`] into a buffer of [`Client::allocate`], with `O_DIRECT`
    /// where this makes the transfer faster.
    pub fn open_for_transfer(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.methods)
    }

    /// Opens `file`, which this process may open for writing, once more with `O_DIRECT` where a save in
    /// `mode` goes direct only through such a descriptor. `None` where it does not help, and where the
    /// file cannot. Such a descriptor takes whole blocks of [`RegularFile::direct_align`] bytes.
    pub fn reopen_for_save(&self, file: &File, mode: Mode) -> Result<Option<File>, Error> {
        let methods = self.capabilities()?.methods;
        if mode == Mode::Buffered || methods.first() != Some(&Method::MappedDirect) {
            return Ok(None);
        }
        let flags = OFlags::DIRECT.bits() as i32;
        Ok(OpenOptions::new().write(true).custom_flags(flags).open(in_proc(file.as_fd())).ok())
    }
}

/// Opens a file for reading. Uses `O_DIRECT` if the best method is a mapping and the file system
/// accepts the flag; in mode `Auto`, also only if the page cache does not hold most of the file.
fn open(path: &Path, mode: Mode, methods: &[Method]) -> Result<File, Error> {
    let file = open_regular(path, OFlags::empty())?;
    if mode == Mode::Buffered || methods.first() != Some(&Method::MappedDirect) {
        return Ok(file);
    }
    let checked = RegularFile::new(file.as_fd(), Heap::System);
    if mode == Mode::Auto && checked.is_ok_and(|file| file.is_mostly_cached(0..file.size())) {
        return Ok(file);
    }
    Ok(open_regular(path, OFlags::DIRECT).unwrap_or(file))
}

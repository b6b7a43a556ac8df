//! The two back ends behind one API.

use crate::buffer::Buffer;
use crate::convert;
use crate::error::Error;
use crate::page_cache::{plan_resident, receipt_seen, Ranges};
use binder_shim::{connect_socket, describe, lookup_within, pfd, Strong};
use dmabufio_core::dmabuf::DmaBuf;
use dmabufio_core::error::{Error as CoreError, ErrorKind, Result as CoreResult};
use dmabufio_core::extent::{Direction, Extent, MAX_EXTENTS};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::{Allocation, Allocator, Heap};
use dmabufio_core::load::{self, Item, Loaded};
use dmabufio_core::method::{Method, Mode, Support};
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use dmabufio_wire::{
    aidl, extent_plan_from_aidl, extents_to_aidl, receipt_from_aidl, signed, Wire, INSTANCE,
};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{metadata, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aidl::IDmabufIo::IDmabufIo;

/// How long to wait for a service that is just starting.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a back end can do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The heap that buffers come from.
    pub heap: Heap,
    /// The methods that work on its buffers in [`Client::transfer`], best first.
    pub methods: Vec<Method>,
    /// The same for [`Client::load`].
    pub load_methods: Vec<Method>,
    /// The page size in bytes: the alignment of direct I/O.
    pub page_size: u64,
    /// The largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// The most extents in one transfer.
    pub max_extents: usize,
}

/// A transfer between a buffer and a file.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// The buffer, from any allocator.
    pub buffer: BorrowedFd<'a>,
    /// The file. Its position and flags stay as they are.
    pub file: BorrowedFd<'a>,
    /// The ranges.
    pub extents: &'a [Extent],
    /// Which way.
    pub direction: Direction,
    /// How much must bypass the page cache.
    pub mode: Mode,
    /// What must be on stable storage on return; for saves.
    pub durability: Durability,
}

impl<'a> Transfer<'a> {
    /// A transfer by the best path, with nothing promised about durability.
    pub fn new(
        buffer: BorrowedFd<'a>,
        file: BorrowedFd<'a>,
        extents: &'a [Extent],
        direction: Direction,
    ) -> Self {
        let (mode, durability) = (Mode::Auto, Durability::None);
        Self { buffer, file, extents, direction, mode, durability }
    }
}

/// A buffer of [`Client::load`].
#[derive(Debug)]
pub struct Filled {
    /// The buffer.
    pub buffer: Buffer,
    /// How it was filled.
    pub receipt: Receipt,
}

/// A connection to the service, or the core in this process.
pub struct Client(Backend);

enum Backend {
    Service { service: Strong<dyn IDmabufIo>, capabilities: OnceLock<Capabilities> },
    Local { heap: Allocator, support: Support, support_in_load: Support },
}

impl Client {
    fn new(service: Strong<dyn IDmabufIo>) -> Self {
        Self(Backend::Service { service, capabilities: OnceLock::new() })
    }

    /// The service on kernel binder.
    pub fn service() -> Result<Self, Error> {
        let service = lookup_within(INSTANCE, PATIENCE).map_err(|status| {
            Error::Unreachable(format!("{INSTANCE} on kernel binder: {}", describe(&status)))
        })?;
        Ok(Self::new(service))
    }

    /// The service on a Unix socket.
    pub fn socket(path: &Path) -> Result<Self, Error> {
        let service = connect_socket(path).map_err(|status| {
            Error::Unreachable(format!("socket {}: {}", path.display(), describe(&status)))
        })?;
        Ok(Self::new(service))
    }

    /// No service: allocates and transfers in this process.
    pub fn local(heap: Heap) -> Result<Self, Error> {
        let heap = Allocator::open(heap)?;
        let support = probe::heap(&heap)?;
        let support_in_load = probe::heap_in_load(&heap)?;
        Ok(Self(Backend::Local { heap, support, support_in_load }))
    }

    /// What this back end can do here.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        match &self.0 {
            // Constant for as long as the service lives.
            Backend::Service { service, capabilities } => match capabilities.get() {
                Some(known) => Ok(known.clone()),
                None => {
                    let asked = service.getCapabilities().map_err(convert::error)?;
                    let asked = convert::capabilities(&asked)?;
                    Ok(capabilities.get_or_init(|| asked).clone())
                }
            },
            Backend::Local { heap, support, support_in_load } => Ok(Capabilities {
                heap: heap.heap(),
                methods: support.methods().collect(),
                load_methods: support_in_load.methods().collect(),
                page_size: heap.page_size(),
                max_buffer_bytes: heap.max_bytes(),
                max_extents: MAX_EXTENTS,
            }),
        }
    }

    /// Allocates a zeroed buffer of at least `size` bytes. `tag` says what it is for in the
    /// kernel's statistics.
    pub fn allocate(&self, size: u64, tag: &str) -> Result<Buffer, Error> {
        match &self.0 {
            Backend::Service { service, .. } => {
                let desc = aidl::BufferDesc::BufferDesc {
                    size: signed("size", size)?,
                    tag: tag.to_owned(),
                };
                convert::buffer(service.allocate(&desc).map_err(convert::error)?)
            }
            Backend::Local { heap, .. } => {
                let Allocation { fd, size, .. } = heap.allocate_named(size, own_uid(), tag)?;
                Ok(Buffer::new(fd, size, heap.heap()))
            }
        }
    }

    /// Predicts what [`Client::transfer`] will do with each extent, without I/O on the file.
    pub fn probe(
        &self,
        file: BorrowedFd<'_>,
        extents: &[Extent],
    ) -> Result<Vec<ExtentPlan>, Error> {
        match &self.0 {
            Backend::Service { service, .. } => {
                let passed = pfd(duplicate("file", file)?);
                let plan =
                    service.probe(&passed, &extents_to_aidl(extents)?).map_err(convert::error)?;
                let plan =
                    plan.extents.iter().map(|plan| convert::received(extent_plan_from_aidl(plan)));
                let ranges = Ranges::of_load(file, extents);
                if self.are_resident(ranges.as_ref())? {
                    plan.map(|plan| plan.map(plan_resident)).collect()
                } else {
                    plan.collect()
                }
            }
            Backend::Local { heap, support, .. } => {
                let file = RegularFile::new(file, heap.heap())?;
                let direction = file.natural_direction();
                Ok(probe::plan(&file, extents, direction, Mode::Auto, *support)?)
            }
        }
    }

    /// Moves data and says how. Blocks until it has moved.
    pub fn transfer(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        let Transfer { buffer, file, extents, direction, mode, durability } = *request;
        match &self.0 {
            Backend::Service { service, .. } => {
                let load = direction == Direction::Load;
                let ranges = load.then(|| Ranges::of_load(file, extents)).flatten();
                let resident = mode == Mode::Auto && self.are_resident(ranges.as_ref())?;
                let mode = if resident { Mode::Buffered } else { mode };
                let watch = ranges.as_ref().and_then(|ranges| ranges.watch(mode));
                let request = aidl::TransferRequest::TransferRequest {
                    buffer: Some(pfd(duplicate("buffer", buffer)?)),
                    file: Some(pfd(duplicate("file", file)?)),
                    extents: extents_to_aidl(extents)?,
                    direction: direction.to_aidl(),
                    mode: mode.to_aidl(),
                    durability: durability.to_aidl(),
                    ..Default::default()
                };
                let receipt = service.transfer(&request).map_err(convert::error)?;
                Ok(receipt_seen(convert::received(receipt_from_aidl(&receipt))?, resident, watch))
            }
            Backend::Local { heap, .. } => {
                let buffer = DmaBuf::new(buffer, heap.heap())?;
                let file = RegularFile::new(file, heap.heap())?;
                let (buffer, file) = (&buffer, &file);
                let request = Request { buffer, file, extents, direction, mode, durability };
                Ok(transfer(&request)?)
            }
        }
    }

    /// Allocates a buffer for each item and fills it from `file`, allocating the next one while the
    /// one before is filled. What is malformed is refused as a whole; after that each item succeeds
    /// or fails by itself.
    pub fn load(
        &self,
        file: BorrowedFd<'_>,
        items: &[Item],
        mode: Mode,
        tag: &str,
    ) -> Result<Vec<Result<Filled, Error>>, Error> {
        match &self.0 {
            Backend::Service { service, .. } => {
                let all: Vec<Extent> = items.iter().flat_map(|item| item.extents.clone()).collect();
                let all = Ranges::of_load(file, &all);
                let resident = mode == Mode::Auto && self.are_resident(all.as_ref())?;
                let mode = if resident { Mode::Buffered } else { mode };
                let ranges = items.iter().map(|item| Some(all.as_ref()?.with(&item.extents)));
                let ranges: Vec<_> = ranges.collect();
                let watches = ranges.iter().map(|ranges| ranges.as_ref()?.watch(mode));
                let watches: Vec<_> = watches.collect();
                let request = aidl::LoadRequest::LoadRequest {
                    file: Some(pfd(duplicate("file", file)?)),
                    items: items.iter().map(convert::load_item).collect::<Result<_, _>>()?,
                    mode: mode.to_aidl(),
                    tag: tag.to_owned(),
                    ..Default::default()
                };
                let result = service.load(&request).map_err(convert::error)?;
                let seen = |(item, watch)| {
                    let Filled { buffer, receipt } = convert::loaded_item(item)?;
                    Ok(Filled { buffer, receipt: receipt_seen(receipt, resident, watch) })
                };
                Ok(result.items.into_iter().zip(watches).map(seen).collect())
            }
            Backend::Local { heap, .. } => {
                let file = RegularFile::new(file, heap.heap())?;
                let arrival = Instant::now();
                let source = load::Source { heap, pool: None, uid: own_uid(), tag, arrival };
                let filled = |loaded: Loaded| Filled {
                    buffer: Buffer::new(loaded.fd, loaded.size, heap.heap()),
                    receipt: loaded.receipt,
                };
                let mut results = Vec::with_capacity(items.len());
                let mut deliver = |result: CoreResult<Loaded>| {
                    results.push(result.map(filled).map_err(Error::from));
                };
                load::load(source, &file, items, mode, &mut || Ok(()), &mut deliver)?;
                Ok(results)
            }
        }
    }

    /// Whether a load of `ranges` by the service is faster if it copies.
    fn are_resident(&self, ranges: Option<&Ranges<'_>>) -> Result<bool, Error> {
        match ranges {
            Some(ranges) => Ok(ranges.are_resident(&self.capabilities()?.methods)),
            None => Ok(false),
        }
    }

    /// Opens a file for [`Client::load`] in `mode`, with `O_DIRECT` where that makes it faster.
    pub fn open_for_load(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.load_methods)
    }

    /// Opens a file for [`Client::transfer`] into a buffer of [`Client::allocate`], likewise.
    pub fn open_for_transfer(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.methods)
    }
}

/// Opens a file to be read, with `O_DIRECT` if the best method is a mapping and the file system takes
/// it, but in mode `Auto` not if the page cache holds most of the file.
fn open(path: &Path, mode: Mode, methods: &[Method]) -> Result<File, Error> {
    let open = |flags: OFlags| {
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
        file.map_err(|error| open_error(path, &error))
    };
    let file = open(OFlags::empty())?;
    if mode == Mode::Buffered || methods.first() != Some(&Method::MappedDirect) {
        return Ok(file);
    }
    let checked = RegularFile::new(file.as_fd(), Heap::System);
    if mode == Mode::Auto && checked.is_ok_and(|file| file.is_mostly_cached(0..file.size())) {
        return Ok(file);
    }
    Ok(open(OFlags::DIRECT).unwrap_or(file))
}

/// The user of this process, whom local buffers are for.
fn own_uid() -> u32 {
    metadata("/proc/self").map_or(0, |process| process.uid())
}

/// A second descriptor of the same open file, as a parcel must own what it carries.
fn duplicate(name: &str, fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        CoreError::from_errno(format!("{name}: duplicate the descriptor"), errno).into()
    })
}

fn open_error(path: &Path, error: &io::Error) -> Error {
    let what = format!("open {}", path.display());
    match Errno::from_io_error(error) {
        Some(errno) => CoreError::from_errno(what, errno),
        None => CoreError::new(ErrorKind::Io, format!("{what}: {error}")),
    }
    .into()
}

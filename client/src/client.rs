//! [`Client`]: one API over two back ends, the service and the core in this process.

use crate::buffer::{Buffer, Filled};
use crate::capabilities::Capabilities;
use crate::convert;
use crate::error::{not_found, of_call, Error};
use crate::open::open_regular;
use crate::page_cache::{emptied, plan_resident, receipt_seen, split, Runs};
use crate::request::{Load, Transfer};
use binder_shim::{connect_socket, lookup_within, pfd, Strong};
use dmabufio_core::buffer::Buffer as CoreBuffer;
use dmabufio_core::error::{Error as CoreError, Result as CoreResult};
use dmabufio_core::extent::{check_placement, Direction, Extent, MAX_EXTENTS};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::{Allocation, Allocator, Heap};
use dmabufio_core::load::{self, Item, Loaded};
use dmabufio_core::method::{Method, Mode, Support};
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Request};
use dmabufio_wire::{
    aidl, extent_plan_from_aidl, extents_to_aidl, receipt_from_aidl, signed, Wire, INSTANCE,
};
use rustix::fs::{fstat, OFlags};
use rustix::io::Errno;
use std::fs::{metadata, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aidl::IDmabufIo::IDmabufIo;

/// The longest wait for a service that is starting.
const PATIENCE: Duration = Duration::from_secs(2);

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

    /// Connects to the service on kernel binder.
    pub fn service() -> Result<Self, Error> {
        let service = lookup_within(INSTANCE, PATIENCE)
            .map_err(|status| not_found(&format!("{INSTANCE} on kernel binder"), &status))?;
        Ok(Self::new(service))
    }

    /// Connects to the service on a Unix socket.
    pub fn socket(path: &Path) -> Result<Self, Error> {
        let service = connect_socket(path)
            .map_err(|status| not_found(&format!("socket {path:?}"), &status))?;
        Ok(Self::new(service))
    }

    /// Allocates and transfers in this process, without the service.
    pub fn local(heap: Heap) -> Result<Self, Error> {
        let heap = Allocator::open(heap)?;
        let support = probe::heap(&heap)?;
        let support_in_load = probe::heap_in_load(&heap)?;
        Ok(Self(Backend::Local { heap, support, support_in_load }))
    }

    /// Returns the abilities of this back end on this machine.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        match &self.0 {
            // Constant for as long as the service lives.
            Backend::Service { service, capabilities } => match capabilities.get() {
                Some(known) => Ok(known.clone()),
                None => {
                    let asked = service.getCapabilities().map_err(|status| of_call(&status, 0))?;
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

    /// Allocates a zeroed buffer of at least `size` bytes. The dma-buf statistics of the kernel
    /// show `tag` as its purpose.
    pub fn allocate(&self, size: u64, tag: &str) -> Result<Buffer, Error> {
        match &self.0 {
            Backend::Service { service, .. } => {
                let desc = aidl::BufferDesc::BufferDesc {
                    size: signed("size", size)?,
                    tag: tag.to_owned(),
                };
                convert::buffer(service.allocate(&desc).map_err(|status| of_call(&status, 1))?)
            }
            Backend::Local { heap, .. } => {
                let Allocation { fd, size, .. } = heap.allocate_named(size, own_uid(), tag)?;
                Ok(Buffer::new(fd, size, heap.heap()))
            }
        }
    }

    /// Predicts how [`Client::transfer`] will move each extent, without I/O on the file.
    pub fn probe(
        &self,
        file: BorrowedFd<'_>,
        extents: &[Extent],
    ) -> Result<Vec<ExtentPlan>, Error> {
        match &self.0 {
            Backend::Service { service, .. } => {
                let passed = pfd(duplicate("file", file)?);
                let plan = service
                    .probe(&passed, &extents_to_aidl(extents)?)
                    .map_err(|status| of_call(&status, 0))?;
                let plan =
                    plan.extents.iter().map(|plan| convert::received(extent_plan_from_aidl(plan)));
                let methods = self.capabilities()?.methods;
                let resident = Runs::of_load(file, extents).map_or_else(
                    || vec![false; extents.len()],
                    |runs| runs.resident(&methods, extents.len()),
                );
                plan.zip(resident)
                    .map(|(plan, resident)| match resident {
                        true => plan.map(plan_resident),
                        false => plan,
                    })
                    .collect()
            }
            Backend::Local { heap, support, .. } => {
                let file = RegularFile::new(file, heap.heap())?;
                let direction = file.natural_direction();
                Ok(probe::plan(&file, extents, direction, Mode::Auto, *support)?)
            }
        }
    }

    /// Moves data and returns the receipt. Blocks until the last byte has moved.
    pub fn transfer(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        let Transfer { buffer, file, extents, direction, mode, priority, durability, .. } =
            *request;
        match &self.0 {
            Backend::Service { service, .. } => {
                let load = direction == Direction::Load;
                let Some(runs) = load.then(|| Runs::of_load(file, extents)).flatten() else {
                    return call_transfer(service, request, None);
                };
                if mode != Mode::Auto {
                    return call_transfer(service, request, Some(&runs));
                }
                // The service refuses a malformed request as a whole.
                let size = fstat(buffer).map_or(0, |stat| stat.st_size as u64);
                let methods = match check_placement(extents, size, direction) {
                    Ok(()) => self.capabilities()?.methods,
                    Err(_) => Vec::new(),
                };
                let resident = runs.resident(&methods, extents.len());
                let absent = runs.absent();
                let [cached, rest] = split(extents, &resident);
                let request = |extents| Transfer { extents, ..*request };
                let receipt = match (cached, rest) {
                    (None, _) => call_transfer(service, &request(extents), Some(&runs))?,
                    (Some(cached), None) => call_resident(service, &request(&cached))?,
                    (Some(cached), Some(rest)) => {
                        let mut receipt = call_resident(service, &request(&cached))?;
                        let runs = runs.with(&rest);
                        receipt.add(&call_transfer(service, &request(&rest), Some(&runs))?);
                        receipt
                    }
                };
                if receipt.buffered > 0 {
                    runs.forget(absent);
                }
                Ok(receipt)
            }
            Backend::Local { heap, .. } => {
                let buffer = CoreBuffer::new(buffer, heap.heap())?;
                let file = RegularFile::new(file, heap.heap())?;
                let (buffer, file) = (&buffer, &file);
                let request = Request { buffer, file, extents, direction, mode, durability };
                let _priority = PriorityGuard::new(priority);
                Ok(transfer(&request)?)
            }
        }
    }

    /// Allocates a buffer for each item and fills it from the file, allocating the next one while the
    /// one before is filled. A malformed request fails as a whole; after that each item succeeds
    /// or fails by itself.
    pub fn load(&self, request: &Load<'_>) -> Result<Vec<Result<Filled, Error>>, Error> {
        let Load { file, items, mode, priority, tag } = *request;
        match &self.0 {
            Backend::Service { service, .. } => {
                let all = Runs::of_load(file, &[]);
                let runs = |extents: &[Extent]| Some(all.as_ref()?.with(extents));
                let well_formed = |item: &Item| {
                    check_placement(&item.extents, item.size, Direction::Load).is_ok()
                };
                // The service refuses a malformed request as a whole.
                let auto = mode == Mode::Auto && items.iter().all(well_formed);
                let methods = if auto { self.capabilities()?.methods } else { Vec::new() };
                let halves = items.iter().map(|item| {
                    let resident = runs(&item.extents)
                        .map_or_else(Vec::new, |runs| runs.resident(&methods, item.extents.len()));
                    split(&item.extents, &resident)
                });
                let halves: Vec<[Option<Vec<Extent>>; 2]> = halves.collect();
                let absent = items.iter().filter(|_| auto).filter_map(|item| runs(&item.extents));
                let absent: Vec<_> = absent.flat_map(|runs| runs.absent()).collect();
                // All that there is to load may be resident: then one call does it.
                let resident = halves.iter().any(|[cached, _]| cached.is_some())
                    && halves.iter().all(|[_, rest]| rest.is_none());
                let mode = if resident { Mode::Buffered } else { mode };
                let direct = items.iter().zip(&halves).map(|(item, [cached, rest])| {
                    let extents = match (cached, rest) {
                        (Some(_), Some(rest)) => rest.clone(),
                        (Some(cached), None) if !resident => emptied(cached),
                        _ => item.extents.clone(),
                    };
                    Item { size: item.size, extents }
                });
                let direct: Vec<Item> = direct.collect();
                let watched: Vec<_> = direct.iter().map(|item| runs(&item.extents)).collect();
                let watches = watched.iter().map(|runs| runs.as_ref()?.watch(mode));
                let watches: Vec<_> = watches.collect();
                let request = aidl::LoadRequest::LoadRequest {
                    file: Some(pfd(duplicate("file", file)?)),
                    items: direct.iter().map(convert::load_item).collect::<Result<_, _>>()?,
                    mode: mode.to_aidl(),
                    priority: priority.to_aidl(),
                    tag: tag.to_owned(),
                };
                let result =
                    service.load(&request).map_err(|status| of_call(&status, items.len()))?;
                let finish = |((item, watch), [cached, _]): ((_, _), &[Option<Vec<Extent>>; 2])| {
                    let Filled { buffer, receipt } = convert::loaded_item(item)?;
                    let mut receipt = receipt_seen(receipt, resident, watch);
                    if let Some(extents) = cached.as_ref().filter(|_| !resident) {
                        let direction = Direction::Load;
                        let transfer = Transfer::new(buffer.as_fd(), file, extents, direction);
                        let transfer = Transfer { priority, tag, ..transfer };
                        receipt.add(&call_resident(service, &transfer)?);
                    }
                    Ok(Filled { buffer, receipt })
                };
                let filled = result.items.into_iter().zip(watches).zip(&halves).map(finish);
                let filled: Vec<Result<Filled, Error>> = filled.collect();
                let copied = filled.iter().flatten().any(|filled| filled.receipt.buffered > 0);
                if let Some(all) = all.filter(|_| copied) {
                    all.forget(absent);
                }
                Ok(filled)
            }
            Backend::Local { heap, .. } => {
                let file = RegularFile::new(file, heap.heap())?;
                let arrival = Instant::now();
                let (uid, allocated) = (own_uid(), &|_: &Allocation| ());
                let source = load::Source { heap, pool: None, uid, tag, arrival, allocated };
                let _priority = PriorityGuard::new(priority);
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

    /// Opens a file for [`Client::load`] in `mode`, as [`open_regular`] does, with `O_DIRECT` where that
    /// makes it faster.
    pub fn open_for_load(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.load_methods)
    }

    /// Opens a file for [`Client::transfer`] into a buffer of [`Client::allocate`], with `O_DIRECT`
    /// where this makes the transfer faster.
    pub fn open_for_transfer(&self, path: &Path, mode: Mode) -> Result<File, Error> {
        open(path, mode, &self.capabilities()?.methods)
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

/// Calls `transfer`. `runs` are those of a load.
fn call_transfer(
    service: &Strong<dyn IDmabufIo>,
    request: &Transfer<'_>,
    runs: Option<&Runs<'_>>,
) -> Result<Receipt, Error> {
    let watch = runs.and_then(|runs| runs.watch(request.mode));
    let request = aidl::TransferRequest::TransferRequest {
        buffer: Some(pfd(duplicate("buffer", request.buffer)?)),
        file: Some(pfd(duplicate("file", request.file)?)),
        extents: extents_to_aidl(request.extents)?,
        direction: request.direction.to_aidl(),
        mode: request.mode.to_aidl(),
        priority: request.priority.to_aidl(),
        durability: request.durability.to_aidl(),
        tag: request.tag.to_owned(),
    };
    let receipt = service.transfer(&request).map_err(|status| of_call(&status, 0))?;
    Ok(receipt_seen(convert::received(receipt_from_aidl(&receipt))?, false, watch))
}

/// Calls `transfer` for extents that the page cache holds.
fn call_resident(
    service: &Strong<dyn IDmabufIo>,
    request: &Transfer<'_>,
) -> Result<Receipt, Error> {
    let request = Transfer { mode: Mode::Buffered, ..*request };
    Ok(receipt_seen(call_transfer(service, &request, None)?, true, None))
}

/// The user of this process, who is the user of local buffers.
fn own_uid() -> u32 {
    metadata("/proc/self").map_or(0, |process| process.uid())
}

/// A second descriptor of the same open file, because a parcel owns its descriptors.
fn duplicate(name: &str, fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        CoreError::from_errno(format!("{name}: duplicate the descriptor"), errno).into()
    })
}

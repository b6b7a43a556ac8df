//! The back end that calls the service.

use crate::buffer::{Buffer, Filled};
use crate::capabilities::Capabilities;
use crate::connection::{Connection, Process};
use crate::convert;
use crate::error::{errno, of_call, Error};
use crate::page_cache::{
    all_resident, plan_resident, receipt_checked, receipt_resident, CachedFile, Split,
};
use crate::request::{Load, Transfer};
use crate::stream::{open_stream, Stream, StreamRequest};
use crate::submit::{submit, Batch, Submitted};
use binder_shim::{dump_remote, st, Status, Strong};
use dmabufio_core::error::{During, Error as CoreError, ErrorKind};
use dmabufio_core::extent::{check_placement, Direction, Extent};
use dmabufio_core::load::Item;
use dmabufio_core::method::{Method, Mode};
use dmabufio_core::sys::pipe::pipe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::watch::Watch;
use dmabufio_wire::{aidl, extent_plan_from_aidl, extents_to_aidl, receipt_from_aidl, signed};
use rustix::fs::fstat;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::slice;
use std::thread;

use aidl::IDmabufIo::IDmabufIo;

/// The calls to the service.
pub(crate) struct Service(Connection);

impl Service {
    /// Finds the service on kernel binder.
    pub fn find() -> Result<Self, Error> {
        Connection::binder().map(Self)
    }

    /// Connects to the service on a Unix socket.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        Connection::socket(path).map(Self)
    }

    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        self.0.call(Process::capabilities)
    }

    pub fn allocate(&self, size: u64, tag: &str) -> Result<Buffer, Error> {
        let size = signed("size", size)?;
        let desc = aidl::BufferDesc::BufferDesc { size, tag: tag.to_owned() };
        let allocated = self.0.call(|service| {
            let allocated = service.proxy.allocate(&desc);
            allocated.map_err(|status| of_call(&status, 1))
        })?;
        convert::buffer(allocated)
    }

    pub fn probe(
        &self,
        file: BorrowedFd<'_>,
        extents: &[Extent],
    ) -> Result<Vec<ExtentPlan>, Error> {
        let passed = convert::passed("file", file)?;
        let sent = extents_to_aidl(extents)?;
        let plan = self.0.call(|service| {
            service.proxy.probe(&passed, &sent).map_err(|status| of_call(&status, 0))
        })?;
        let resident = match CachedFile::new(file) {
            Some(file) if self.loads_directly()? => file.resident(extents),
            _ => vec![false; extents.len()],
        };
        let seen = |(plan, resident)| {
            let plan = convert::received(extent_plan_from_aidl(plan))?;
            Ok(if resident { plan_resident(plan) } else { plan })
        };
        plan.extents.iter().zip(resident).map(seen).collect()
    }

    pub fn transfer(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        let file = match request.direction {
            Direction::Load => CachedFile::new(request.file),
            Direction::Save => None,
        };
        match file {
            Some(file) if request.mode == Mode::Auto => self.transfer_auto(request, &file),
            file => self.call_transfer(request, file.as_ref()),
        }
    }

    /// A load in mode `Auto`: loads the resident extents in mode `Buffered`, then the rest.
    fn transfer_auto(
        &self,
        request: &Transfer<'_>,
        file: &CachedFile<'_>,
    ) -> Result<Receipt, Error> {
        let size = fstat(request.buffer).map_or(0, |stat| stat.st_size as u64);
        let split = self.split(file, &[(request.extents, size)])?.remove(0);
        let absent = file.absent(request.extents);
        let mut receipt = Receipt::default();
        if split.has_resident() {
            receipt.add(&self.copy_resident(&Transfer { extents: &split.resident, ..*request })?);
        }
        if !all_resident(slice::from_ref(&split)) {
            let rest = Transfer { extents: &split.rest, ..*request };
            receipt.add(&self.call_transfer(&rest, Some(file))?);
        }
        if receipt.buffered > 0 {
            file.forget(absent);
        }
        Ok(receipt)
    }

    pub fn load(&self, request: &Load<'_>) -> Result<Vec<Result<Filled, Error>>, Error> {
        match CachedFile::new(request.file) {
            Some(file) if request.mode == Mode::Auto => self.load_auto(request, &file),
            file => self.call_load(request, file.as_ref()),
        }
    }

    /// A load in mode `Auto`. If all extents are resident, one call loads them. Otherwise the
    /// service allocates all buffers and loads the rest into them, and then each buffer gets its
    /// resident extents.
    fn load_auto(
        &self,
        request: &Load<'_>,
        file: &CachedFile<'_>,
    ) -> Result<Vec<Result<Filled, Error>>, Error> {
        let items: Vec<_> =
            request.items.iter().map(|item| (&item.extents[..], item.size)).collect();
        let splits = self.split(file, &items)?;
        let absent = items.iter().flat_map(|(extents, _)| file.absent(extents)).collect();
        let results: Vec<_> = if all_resident(&splits) {
            let loaded = self.call_load(&Load { mode: Mode::Buffered, ..*request }, None)?;
            let resident =
                |Filled { buffer, receipt }| Filled { buffer, receipt: receipt_resident(receipt) };
            loaded.into_iter().map(|result| result.map(resident)).collect()
        } else {
            let rest = |(item, split): (&Item, &Split)| Item {
                size: item.size,
                extents: split.rest.clone(),
            };
            let items: Vec<Item> = request.items.iter().zip(&splits).map(rest).collect();
            let loaded = self.call_load(&Load { items: &items, ..*request }, Some(file))?;
            let complete = |(filled, split): (Result<Filled, Error>, &Split)| {
                self.complete(request, filled?, split)
            };
            loaded.into_iter().zip(&splits).map(complete).collect()
        };
        if results.iter().flatten().any(|filled| filled.receipt.buffered > 0) {
            file.forget(absent);
        }
        Ok(results)
    }

    /// Loads the resident extents into a buffer that has the rest.
    fn complete(
        &self,
        request: &Load<'_>,
        mut filled: Filled,
        split: &Split,
    ) -> Result<Filled, Error> {
        if split.has_resident() {
            let Load { file, priority, tag, .. } = *request;
            let (buffer, extents) = (filled.buffer.as_fd(), &split.resident);
            let transfer = Transfer::new(buffer, file, extents, Direction::Load);
            filled.receipt.add(&self.copy_resident(&Transfer { priority, tag, ..transfer })?);
        }
        Ok(filled)
    }

    pub fn submit(&self, batch: &Batch<'_>) -> Result<Submitted, Error> {
        self.0.call(|service| submit(&service.proxy, batch))
    }

    pub fn open_stream(&self, request: &StreamRequest<'_>) -> Result<Stream, Error> {
        self.0.call(|service| open_stream(&service.proxy, request))
    }

    pub fn dump(&self, args: &[&str]) -> Result<String, Error> {
        self.0.call(|service| dump(&service.proxy, args))
    }

    /// Splits the items of a load into resident extents and the rest. An item here is extents and
    /// the size of the buffer.
    fn split(
        &self,
        file: &CachedFile<'_>,
        items: &[(&[Extent], u64)],
    ) -> Result<Vec<Split>, Error> {
        // The service refuses a malformed request, and must see all of it.
        let well_formed = items
            .iter()
            .all(|(extents, size)| check_placement(extents, *size, Direction::Load).is_ok());
        let direct = well_formed && self.loads_directly()?;
        let split = |extents| match direct {
            true => file.split(extents),
            false => Split::none(extents),
        };
        Ok(items.iter().map(|(extents, _)| split(extents)).collect())
    }

    /// Whether the service uses direct I/O, which can be slower than a copy of resident data.
    fn loads_directly(&self) -> Result<bool, Error> {
        Ok(self.capabilities()?.methods.contains(&Method::RwFileDirect))
    }

    /// Calls `transfer` for resident extents.
    fn copy_resident(&self, request: &Transfer<'_>) -> Result<Receipt, Error> {
        let request = Transfer { mode: Mode::Buffered, ..*request };
        Ok(receipt_resident(self.call_transfer(&request, None)?))
    }

    /// Calls `transfer`. `file` is the file of a load, for the check of the receipt.
    fn call_transfer(
        &self,
        request: &Transfer<'_>,
        file: Option<&CachedFile<'_>>,
    ) -> Result<Receipt, Error> {
        let sent = convert::transfer_request(request)?;
        let (receipt, watch) = self.0.call(|service| {
            let watch = watch(file, request.mode, request.extents);
            let receipt = service.proxy.transfer(&sent).map_err(|status| of_call(&status, 0))?;
            Ok((receipt, watch))
        })?;
        Ok(receipt_checked(convert::received(receipt_from_aidl(&receipt))?, watch))
    }

    /// Calls `load`. `file` is the file, for the check of the receipts.
    fn call_load(
        &self,
        request: &Load<'_>,
        file: Option<&CachedFile<'_>>,
    ) -> Result<Vec<Result<Filled, Error>>, Error> {
        let Load { items, mode, .. } = *request;
        let sent = convert::load_request(request)?;
        let (result, watches) = self.0.call(|service| {
            let watch = |item: &Item| watch(file, mode, &item.extents);
            let watches: Vec<_> = items.iter().map(watch).collect();
            let result = service.proxy.load(&sent);
            Ok((result.map_err(|status| of_call(&status, items.len()))?, watches))
        })?;
        let filled = |(item, watch)| {
            let Filled { buffer, receipt } = convert::loaded_item(item)?;
            Ok(Filled { buffer, receipt: receipt_checked(receipt, watch) })
        };
        Ok(result.items.into_iter().zip(watches).map(filled).collect())
    }
}

/// Reads the dump of `service`.
fn dump(service: &Strong<dyn IDmabufIo>, args: &[&str]) -> Result<String, Error> {
    let (reader, writer) = pipe().during(|| "dump: make a pipe")?;
    thread::scope(|scope| {
        let read = move || {
            let mut text = Vec::new();
            File::from(reader).read_to_end(&mut text).map(|_| text)
        };
        let read = thread::Builder::new().spawn_scoped(scope, read);
        let read =
            read.map_err(|error| CoreError::from_errno("dump: start a thread", errno(error)))?;
        let dumped = dump_remote(&mut service.as_binder(), writer, args);
        let text = read.join().unwrap_or_else(|_| Ok(Vec::new()));
        dumped.map_err(|code| match code {
            st::INVALID_OPERATION => no_dump(),
            code => of_call(&Status::from(code), 0),
        })?;
        let text = text.map_err(|error| CoreError::from_errno("dump: read", errno(error)))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    })
}

/// The error of a dump where nobody can be asked.
pub(crate) fn no_dump() -> Error {
    let what = "dump: only of a service on kernel binder";
    CoreError::new(ErrorKind::Unsupported, what).into()
}

/// Counts the cached pages before a load that may go direct.
fn watch<'a>(
    file: Option<&'a CachedFile<'_>>,
    mode: Mode,
    extents: &[Extent],
) -> Option<Watch<'a>> {
    file.filter(|_| mode != Mode::Buffered)?.watch(extents)
}

//! Connections, and what they do.

use super::arguments::{descriptor, list, path, structure, tag, Place};
use super::call::call;
use crate::error::{Error, ErrorKind};
use crate::handles::{get, insert, remove};
use crate::numbers;
use crate::objects::Client;
use crate::types::{
    Capabilities, Extent, ExtentPlan, Item, LoadRequest, Outcome, Receipt, TransferRequest,
};
use dmabufio_client::{Client as InnerClient, Error as ClientError, Filled, Load, Transfer};
use dmabufio_core::extent::Extent as CoreExtent;
use dmabufio_core::load::Item as CoreItem;
use dmabufio_core::transfer::receipt::Receipt as CoreReceipt;
use std::ffi::{c_char, c_int};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;

/// Connects to the service on kernel binder. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_connect(error: *mut *mut Error) -> *mut Client {
    // SAFETY: the caller promises the contract of this module.
    unsafe { call(error, ptr::null_mut(), || Ok(insert(Client(InnerClient::service()?)))) }
}

/// Connects to the service on the Unix socket at `path`. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_connect_socket(
    path: *const c_char,
    error: *mut *mut Error,
) -> *mut Client {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            Ok(insert(Client(InnerClient::socket(self::path("path", path)?)?)))
        })
    }
}

/// A client that does the work in this process, without the service. `heap` is an
/// `enum dmabufio_heap`. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_local(heap: u32, error: *mut *mut Error) -> *mut Client {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            Ok(insert(Client(InnerClient::local(numbers::heap(heap)?)?)))
        })
    }
}

/// Frees a client. Its buffers stay. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_client_free(client: *mut Client) {
    remove(client);
}

/// Stores the abilities of `client` on this machine.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_capabilities(
    client: *const Client,
    capabilities: *mut Capabilities,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("capabilities", capabilities)?;
            let known = get("client", client)?.0.capabilities()?;
            place.set(Capabilities {
                heap: numbers::of_heap(known.heap),
                methods: numbers::bits_of_methods(&known.methods),
                load_methods: numbers::bits_of_methods(&known.load_methods),
                max_extents: u32::try_from(known.max_extents).unwrap_or(u32::MAX),
                page_size: known.page_size,
                max_buffer_bytes: known.max_buffer_bytes,
            });
            Ok(true)
        })
    }
}

/// Allocates a zeroed buffer of at least `size` bytes and returns its descriptor, which the caller
/// closes with `close(2)`. `lseek(2)` to its end returns the size. Statistics of the kernel show
/// `tag`: printable ASCII, at most 31 bytes, or NULL. -1 on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_allocate(
    client: *const Client,
    size: u64,
    tag: *const c_char,
    error: *mut *mut Error,
) -> c_int {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, -1, || {
            let buffer = get("client", client)?.0.allocate(size, self::tag(tag)?)?;
            Ok(OwnedFd::from(buffer).into_raw_fd())
        })
    }
}

/// Predicts how a transfer of `extents` would move each of them, without I/O on `file`. Stores one
/// plan for each extent.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_probe(
    client: *const Client,
    file: c_int,
    extents: *const Extent,
    extent_count: usize,
    plans: *mut ExtentPlan,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let client = get("client", client)?;
            let extents = self::extents(extents, extent_count)?;
            let place = Place::new("plans", plans)?;
            let found = client.0.probe(descriptor("file", file)?, &extents)?;
            for (i, plan) in found.iter().take(extent_count).enumerate() {
                place.set_at(i, plan.into());
            }
            if found.len() < extent_count {
                return Err(missing("plan"));
            }
            Ok(true)
        })
    }
}

/// Moves data between a buffer and a file, and stores the report in `*receipt`, which may be NULL.
/// Returns when the last byte has moved.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_transfer(
    client: *const Client,
    request: *const TransferRequest,
    receipt: *mut Receipt,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let client = get("client", client)?;
            let place = match receipt.is_null() {
                true => None,
                false => Some(Place::new("receipt", receipt)?),
            };
            let request = OwnedTransfer::new(structure("request", request)?)?;
            let moved = client.0.transfer(&request.borrowed())?;
            if let Some(place) = place {
                place.set((&moved).into());
            }
            Ok(true)
        })
    }
}

/// Allocates buffers and fills them from a file. Stores one outcome for each item in `outcomes`. A
/// malformed request fails as a whole and stores none; after that each item succeeds or fails by
/// itself.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_client_load(
    client: *const Client,
    request: *const LoadRequest,
    outcomes: *mut Outcome,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let client = get("client", client)?;
            let place = Place::new("outcomes", outcomes)?;
            let request = OwnedLoad::new(structure("request", request)?)?;
            let mut results = client.0.load(&request.borrowed())?.into_iter();
            for i in 0..request.items.len() {
                place.set_at(i, filled(results.next()));
            }
            Ok(true)
        })
    }
}

/// The extents of a request.
///
/// # Safety
/// That of [`list`].
unsafe fn extents(extents: *const Extent, count: usize) -> Result<Vec<CoreExtent>, Error> {
    // SAFETY: the promise of the caller.
    Ok(unsafe { list("extents", extents, count)? }.iter().map(CoreExtent::from).collect())
}

/// A checked transfer.
pub(super) struct OwnedTransfer<'a> {
    extents: Vec<CoreExtent>,
    request: Transfer<'a>,
}

impl<'a> OwnedTransfer<'a> {
    /// # Safety
    /// The pointers and descriptors of `from` are valid during `'a`, as [`super`] describes it.
    pub unsafe fn new(from: &TransferRequest) -> Result<Self, Error> {
        // SAFETY: the promise of the caller.
        unsafe {
            let extents = self::extents(from.extents, from.extent_count)?;
            let buffer = descriptor("buffer", from.buffer)?;
            let file = descriptor("file", from.file)?;
            let direction = numbers::direction(from.direction)?;
            let request = Transfer {
                mode: numbers::mode(from.mode)?,
                priority: numbers::priority(from.priority)?,
                durability: numbers::durability(from.durability)?,
                tag: tag(from.tag)?,
                ..Transfer::new(buffer, file, &[], direction)
            };
            Ok(Self { extents, request })
        }
    }

    pub fn borrowed(&self) -> Transfer<'_> {
        Transfer { extents: &self.extents, ..self.request }
    }
}

/// A checked load.
pub(super) struct OwnedLoad<'a> {
    pub items: Vec<CoreItem>,
    request: Load<'a>,
}

impl<'a> OwnedLoad<'a> {
    /// # Safety
    /// The pointers and descriptors of `from` are valid during `'a`, as [`super`] describes it.
    pub unsafe fn new(from: &LoadRequest) -> Result<Self, Error> {
        // SAFETY: the promise of the caller.
        unsafe {
            let items = list("items", from.items, from.item_count)?.iter().map(|item: &Item| {
                let extents = self::extents(item.extents, item.extent_count)?;
                Ok(CoreItem { size: item.size, extents })
            });
            let items = items.collect::<Result<_, Error>>()?;
            let request = Load {
                mode: numbers::mode(from.mode)?,
                priority: numbers::priority(from.priority)?,
                tag: tag(from.tag)?,
                ..Load::new(descriptor("file", from.file)?, &[])
            };
            Ok(Self { items, request })
        }
    }

    pub fn borrowed(&self) -> Load<'_> {
        Load { items: &self.items, ..self.request }
    }
}

/// The outcome of one buffer of a load.
pub(super) fn filled(result: Option<Result<Filled, ClientError>>) -> Outcome {
    match result.unwrap_or_else(|| Err(unanswered("buffer"))) {
        Ok(Filled { buffer, receipt }) => Outcome {
            size: buffer.size(),
            buffer: OwnedFd::from(buffer).into_raw_fd(),
            receipt: (&receipt).into(),
            error: ptr::null_mut(),
        },
        Err(error) => failed(error),
    }
}

/// The outcome of one transfer of a batch.
pub(super) fn moved(result: Option<Result<CoreReceipt, ClientError>>) -> Outcome {
    match result.unwrap_or_else(|| Err(unanswered("transfer"))) {
        Ok(receipt) => {
            Outcome { buffer: -1, size: 0, receipt: (&receipt).into(), error: ptr::null_mut() }
        }
        Err(error) => failed(error),
    }
}

fn failed(error: ClientError) -> Outcome {
    let (receipt, error) = ((&CoreReceipt::default()).into(), insert(Error::from(error)));
    Outcome { buffer: -1, size: 0, receipt, error }
}

fn unanswered(what: &str) -> ClientError {
    ClientError::Unreachable(format!("it sent no result for a {what}"))
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, unanswered(what))
}

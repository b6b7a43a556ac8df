//! Models of AI.

use super::arguments::{descriptor, list, path, text, Place};
use super::call::call;
use crate::error::Error;
use crate::handles::{get, insert, remove};
use crate::numbers;
use crate::objects::{Client, Model, Tensors};
use crate::types::{dtype, Receipt, Tensor, View};
use dmabufio_client::model::{Layout, Model as InnerModel, Part, Plan, Tensors as InnerTensors};
use dmabufio_core::error::During;
use rustix::io::fcntl_dupfd_cloexec;
use std::ffi::{c_char, c_int};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

/// Opens the model at `path` and reads its header: a safetensors file, the index of a sharded one
/// (`.json`), or a GGUF file, also one of several. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_model_open(
    path: *const c_char,
    error: *mut *mut Error,
) -> *mut Model {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            Ok(insert(Model(InnerModel::open(self::path("path", path)?)?)))
        })
    }
}

/// Opens the model in `len` bytes of `file` from byte `offset`, as in an APK. The caller keeps its
/// descriptor, which must not have O_DIRECT. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_model_open_range(
    file: c_int,
    offset: u64,
    len: u64,
    error: *mut *mut Error,
) -> *mut Model {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            let number = file;
            let file = fcntl_dupfd_cloexec(descriptor("file", file)?, 0);
            let file = File::from(file.during(|| "file: duplicate the descriptor")?);
            let name = PathBuf::from(format!("descriptor {number}"));
            let part = Part::new(&name, file, offset..offset.saturating_add(len))?;
            Ok(insert(Model(InnerModel::from_parts(vec![part])?)))
        })
    }
}

/// Frees a model. Its tensors in buffers stay. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_model_free(model: *mut Model) {
    remove(model);
}

/// The number of tensors in the files; 0 on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_model_tensor_count(
    model: *const Model,
    error: *mut *mut Error,
) -> usize {
    // SAFETY: the caller promises the contract of this module.
    unsafe { call(error, 0, || Ok(get("model", model)?.0.tensors().len())) }
}

/// Stores what the file says of the tensor `index`, from 0, in the order of the files.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_model_tensor(
    model: *const Model,
    index: usize,
    tensor: *mut Tensor,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("tensor", tensor)?;
            let model = get("model", model)?;
            let tensors = model.0.tensors();
            let found = tensors.get(index).ok_or_else(|| {
                let count = tensors.len();
                Error::invalid(format_args!("index {index}: the model has {count} tensors"))
            })?;
            place.set(Tensor {
                name: found.name.as_ptr().cast(),
                name_len: found.name.len(),
                shape: found.shape.as_ptr(),
                rank: found.shape.len(),
                part: found.part,
                offset: found.offset,
                len: found.len,
                dtype: dtype(found.dtype.name()),
            });
            Ok(true)
        })
    }
}

/// Allocates buffers and loads the tensors whose names match one of `patterns`. In a pattern `*`
/// stands for any text and `?` for one character; no patterns mean all tensors. In its buffer each
/// tensor begins at a multiple of `alignment`, a power of two up to 65536; 1 keeps the alignment of
/// the file. No buffer is larger than `buffer_size` bytes, unless one tensor is; 0 means 64 MiB.
/// `mode` is an `enum dmabufio_mode`. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_tensors_load(
    client: *const Client,
    model: *const Model,
    patterns: *const *const c_char,
    pattern_count: usize,
    alignment: u64,
    buffer_size: u64,
    mode: u32,
    error: *mut *mut Error,
) -> *mut Tensors {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            let (client, model, plan) =
                plan(client, model, patterns, pattern_count, alignment, buffer_size)?;
            let mode = numbers::mode(mode)?;
            Ok(insert(Tensors(InnerTensors::load(&client.0, &model.0, plan, mode)?)))
        })
    }
}

/// Allocates the buffers of `dmabufio_tensors_load` and loads nothing: `dmabufio_tensors_fill` loads
/// the tensors of a layer or an expert when they are needed. NULL on failure.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_tensors_allocate(
    client: *const Client,
    model: *const Model,
    patterns: *const *const c_char,
    pattern_count: usize,
    alignment: u64,
    buffer_size: u64,
    error: *mut *mut Error,
) -> *mut Tensors {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, ptr::null_mut(), || {
            let (client, model, plan) =
                plan(client, model, patterns, pattern_count, alignment, buffer_size)?;
            Ok(insert(Tensors(InnerTensors::allocate(&client.0, &model.0, plan)?)))
        })
    }
}

/// Loads the tensors that match one of `patterns` into their places in the buffers, again or for the
/// first time. `model` is the one that the buffers were planned for. No byte of another tensor changes.
/// After a failure, the tensors that match have any content. `receipt` may be NULL.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_tensors_fill(
    tensors: *const Tensors,
    client: *const Client,
    model: *const Model,
    patterns: *const *const c_char,
    pattern_count: usize,
    mode: u32,
    receipt: *mut Receipt,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = (!receipt.is_null()).then(|| Place::new("receipt", receipt)).transpose()?;
            let (tensors, client) = (get("tensors", tensors)?, get("client", client)?);
            let model = get("model", model)?;
            let patterns = self::patterns(patterns, pattern_count)?;
            let mode = numbers::mode(mode)?;
            let filled = tensors.0.fill(&client.0, &model.0, &patterns, mode)?;
            if let Some(place) = place {
                place.set((&filled).into());
            }
            Ok(true)
        })
    }
}

/// The patterns, or the one that all names match if there are none.
///
/// # Safety
/// `patterns` is null, misaligned, or leads to `count` pointers to text, as [`text`] wants them.
unsafe fn patterns<'a>(
    patterns: *const *const c_char,
    count: usize,
) -> Result<Vec<&'a str>, Error> {
    // SAFETY: the promise of the caller.
    let patterns = unsafe { list("patterns", patterns, count)? };
    // SAFETY: the promise of the caller.
    let patterns = patterns.iter().map(|&pattern| unsafe { text("pattern", pattern) });
    let patterns: Vec<_> = patterns.collect::<Result<_, _>>()?;
    Ok(if patterns.is_empty() { vec!["*"] } else { patterns })
}

/// The objects of two handles, and the plan that `dmabufio_tensors_load` describes.
///
/// # Safety
/// As for [`patterns`].
unsafe fn plan(
    client: *const Client,
    model: *const Model,
    patterns: *const *const c_char,
    count: usize,
    alignment: u64,
    buffer_size: u64,
) -> Result<(Arc<Client>, Arc<Model>, Plan), Error> {
    let (client, model) = (get("client", client)?, get("model", model)?);
    // SAFETY: the promise of the caller.
    let patterns = unsafe { self::patterns(patterns, count)? };
    let mut layout = Layout::of(&client.0)?.aligned(alignment);
    if buffer_size != 0 {
        layout.buffer_size = buffer_size;
    }
    let plan = Plan::new(&model.0, &patterns, &layout)?;
    Ok((client, model, plan))
}

/// Stores where the tensor called `name` is.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_tensors_get(
    tensors: *const Tensors,
    name: *const c_char,
    view: *mut View,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("view", view)?;
            let (tensors, name) = (get("tensors", tensors)?, text("name", name)?);
            let found = tensors.0.get(name).ok_or_else(|| Error::no_tensor(name))?;
            place.set(View {
                shape: found.shape.as_ptr(),
                rank: found.shape.len(),
                offset: found.offset,
                len: found.len,
                buffer: found.buffer.as_fd().as_raw_fd(),
                dtype: dtype(found.dtype.name()),
            });
            Ok(true)
        })
    }
}

/// Stores the report of `dmabufio_tensors_load`.
#[no_mangle]
pub unsafe extern "C" fn dmabufio_tensors_receipt(
    tensors: *const Tensors,
    receipt: *mut Receipt,
    error: *mut *mut Error,
) -> bool {
    // SAFETY: the caller promises the contract of this module.
    unsafe {
        call(error, false, || {
            let place = Place::new("receipt", receipt)?;
            place.set(get("tensors", tensors)?.0.receipt().into());
            Ok(true)
        })
    }
}

/// Frees tensors and closes their buffers. NULL is allowed.
#[no_mangle]
pub extern "C" fn dmabufio_tensors_free(tensors: *mut Tensors) {
    remove(tensors);
}

//! The structures of the C interface, and their conversion.

use crate::error::Error;
use crate::numbers;
use dmabufio_client::snapshot::{self, ColorSpace, PixelFormat};
use dmabufio_core::extent::Extent as CoreExtent;
use dmabufio_core::transfer::plan::ExtentPlan as CorePlan;
use dmabufio_core::transfer::receipt::Receipt as CoreReceipt;
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// The abilities of a client on this machine.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The heap of the buffers, an `enum dmabufio_heap`.
    pub heap: u32,
    /// The methods of a transfer that work: bit N is set for the method with the number N.
    pub methods: u32,
    /// The same for a load.
    pub load_methods: u32,
    /// The largest number of extents in one transfer.
    pub max_extents: u32,
    /// The page size in bytes, which is the alignment of direct I/O.
    pub page_size: u64,
    /// The size of the largest buffer in bytes.
    pub max_buffer_bytes: u64,
}

/// A range of a request, in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Where it begins in the file.
    pub file_offset: u64,
    /// Where it begins in the buffer.
    pub buffer_offset: u64,
    /// Its length.
    pub len: u64,
}

/// A buffer to allocate and to fill.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The size of the buffer in bytes.
    pub size: u64,
    /// The ranges to load.
    pub extents: *const Extent,
    /// Their number.
    pub extent_count: usize,
}

/// Buffers to allocate and to fill from one file.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LoadRequest {
    /// The file. Its position and flags stay as they are.
    pub file: c_int,
    /// An `enum dmabufio_mode`.
    pub mode: u32,
    /// An `enum dmabufio_priority`.
    pub priority: u32,
    /// The purpose of the buffers, for statistics: printable ASCII, at most 31 bytes, or NULL.
    pub tag: *const c_char,
    /// The buffers.
    pub items: *const Item,
    /// Their number.
    pub item_count: usize,
}

/// A transfer between a file and a buffer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TransferRequest {
    /// The buffer: a dma-buf of any allocator.
    pub buffer: c_int,
    /// The file. Its position and flags stay as they are.
    pub file: c_int,
    /// An `enum dmabufio_direction`.
    pub direction: u32,
    /// An `enum dmabufio_mode`.
    pub mode: u32,
    /// An `enum dmabufio_priority`.
    pub priority: u32,
    /// An `enum dmabufio_durability`, for saves.
    pub durability: u32,
    /// A name for logs and dumps: printable ASCII, at most 31 bytes, or NULL.
    pub tag: *const c_char,
    /// The ranges to move.
    pub extents: *const Extent,
    /// Their number.
    pub extent_count: usize,
}

/// The report on a transfer. The sum of `direct`, `bounced` and `buffered` moved.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    /// Bytes that direct I/O moved.
    pub direct: u64,
    /// Bytes that the CPU moved at the edges of direct I/O.
    pub bounced: u64,
    /// Bytes that the CPU moved because they did not go direct.
    pub buffered: u64,
    /// The method that moved the most bytes, an `enum dmabufio_method`.
    pub method: u32,
    /// The reason of the first fallback, an `enum dmabufio_fallback_reason`.
    pub first_fallback: u32,
    /// Time from the arrival of the request to its I/O, and between its turns, in nanoseconds.
    pub queue_ns: u64,
    /// Time in I/O, in nanoseconds.
    pub io_ns: u64,
    /// Time to make a save durable, in nanoseconds.
    pub sync_ns: u64,
    /// Whether the page cache proves that all of `direct` went direct.
    pub checked: bool,
}

/// A prediction for one extent. The sum of `direct`, `bounced` and `buffered` would move.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ExtentPlan {
    /// Bytes that direct I/O would move.
    pub direct: u64,
    /// Bytes that the CPU would move at the edges of direct I/O.
    pub bounced: u64,
    /// Bytes that the CPU would move because they would not go direct.
    pub buffered: u64,
    /// An `enum dmabufio_method`.
    pub method: u32,
    /// An `enum dmabufio_fallback_reason`.
    pub reason: u32,
}

/// What became of one buffer of a load, or of one transfer of a batch.
#[repr(C)]
#[derive(Debug)]
pub struct Outcome {
    /// The buffer, which the caller closes with `close(2)`; -1 for a transfer or a failure.
    pub buffer: c_int,
    /// The size of the buffer in bytes.
    pub size: u64,
    /// The report, if there is no error.
    pub receipt: Receipt,
    /// The error, which the caller frees; NULL on success.
    pub error: *mut Error,
}

/// How far a batch is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes that have moved. Never decreases.
    pub bytes: u64,
    /// Bytes of all extents.
    pub total: u64,
    /// Whether the batch has ended.
    pub ended: bool,
}

/// The size of a type's name with its final zero byte.
pub const DTYPE_SIZE: usize = 16;

/// A tensor in a file. Its pointers are valid until the model is freed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// The name, UTF-8, without a final zero byte.
    pub name: *const c_char,
    /// The bytes of the name.
    pub name_len: usize,
    /// The dimensions, the outermost first.
    pub shape: *const u64,
    /// The number of dimensions.
    pub rank: usize,
    /// Which of the files of the model it is in, from 0.
    pub part: usize,
    /// Where it begins in that file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The type of the elements, in the words of the format: "BF16", "Q4_K".
    pub dtype: [c_char; DTYPE_SIZE],
}

/// A tensor in a buffer. Its pointer and its buffer are valid until the tensors are freed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The dimensions, the outermost first.
    pub shape: *const u64,
    /// The number of dimensions.
    pub rank: usize,
    /// Where it begins in the buffer, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The buffer. Do not close it: `dup(2)` makes a descriptor that lives longer.
    pub buffer: c_int,
    /// The type of the elements, in the words of the format: "BF16", "Q4_K".
    pub dtype: [c_char; DTYPE_SIZE],
}

/// What the pixels of a snapshot are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    /// Pixels in a row; not 0.
    pub width: u32,
    /// Rows; not 0.
    pub height: u32,
    /// From the start of a row to the start of the next one, in bytes.
    pub stride: u32,
    /// The DRM fourcc of the format: AB24, XB24, AR24, XR24, RG16, AB30 or AB4H.
    pub format: u32,
    /// By how much the display was turned, in degrees clockwise: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Dots per inch; 0 if unknown.
    pub density: u32,
    /// A value of Android's `ADataSpace`.
    pub color_space: u32,
}

/// A snapshot in a new buffer.
#[repr(C)]
#[derive(Debug)]
pub struct Snapshot {
    /// What it is.
    pub picture: Picture,
    /// The buffer with the pixels at offset 0, which the caller closes with `close(2)`.
    pub buffer: c_int,
    /// The size of the buffer in bytes.
    pub size: u64,
    /// The report on reading the pixels.
    pub receipt: Receipt,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&CoreReceipt> for Receipt {
    fn from(receipt: &CoreReceipt) -> Self {
        Self {
            direct: receipt.direct,
            bounced: receipt.bounced,
            buffered: receipt.buffered,
            method: numbers::of_method(receipt.method),
            first_fallback: numbers::of_reason(receipt.first_fallback),
            queue_ns: nanos(receipt.queue),
            io_ns: nanos(receipt.io),
            sync_ns: nanos(receipt.sync),
            checked: receipt.checked,
        }
    }
}

impl From<&CorePlan> for ExtentPlan {
    fn from(plan: &CorePlan) -> Self {
        let CorePlan { direct, bounced, buffered, .. } = *plan;
        let (method, reason) = (numbers::of_method(plan.method), numbers::of_reason(plan.reason));
        Self { direct, bounced, buffered, method, reason }
    }
}

impl From<&Extent> for CoreExtent {
    fn from(extent: &Extent) -> Self {
        let Extent { file_offset, buffer_offset, len } = *extent;
        Self { file_offset, buffer_offset, len }
    }
}

impl From<&snapshot::Picture> for Picture {
    fn from(picture: &snapshot::Picture) -> Self {
        let snapshot::Picture { width, height, stride, format, rotation, density, .. } = *picture;
        let (format, color_space) = (format.fourcc(), picture.color_space.0);
        Self { width, height, stride, format, rotation, density, color_space }
    }
}

impl Picture {
    pub fn checked(self) -> Result<snapshot::Picture, Error> {
        let Self { width, height, stride, rotation, density, .. } = self;
        let format = PixelFormat::of_fourcc(self.format).ok_or_else(|| {
            Error::invalid(format_args!("format {:#010x}: not a known DRM fourcc", self.format))
        })?;
        let color_space = ColorSpace(self.color_space);
        Ok(snapshot::Picture { width, height, stride, format, rotation, density, color_space })
    }
}

/// The name of a type, with a final zero byte.
pub fn dtype(name: &str) -> [c_char; DTYPE_SIZE] {
    let mut text = [0; DTYPE_SIZE];
    for (to, from) in text[..DTYPE_SIZE - 1].iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    text
}

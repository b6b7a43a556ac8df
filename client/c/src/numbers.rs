//! The numbers of the C interface, and their conversion. C code passes them as `uint32_t`, which can
//! have any value. Those that the AIDL interface has too are the same there.

#![allow(dead_code, reason = "only C code uses some of the names")]

use crate::error::Error;
use dmabufio_client::snapshot;
use dmabufio_core::extent::Direction as CoreDirection;
use dmabufio_core::heap::Heap as CoreHeap;
use dmabufio_core::method::{FallbackReason as CoreReason, Method as CoreMethod, Mode as CoreMode};
use dmabufio_core::priority::Priority as CorePriority;
use dmabufio_core::sys::mmap;
use dmabufio_core::transfer::Durability as CoreDurability;
use dmabufio_wire::{aidl, Wire};

/// A source of buffers.
#[repr(C)]
#[derive(Debug)]
pub enum Heap {
    /// `/dev/dma_heap/system`: the product.
    System = 1,
    /// A memfd wrapped by `/dev/udmabuf`.
    Udmabuf = 2,
    /// A plain memfd: no device node, no root, and no dma-buf. For hosts and tests.
    Memfd = 3,
    /// `/dev/dma_heap/system-direct`, the heap of the vendor module.
    SystemDirect = 4,
}

/// A way of moving bytes between a file and a buffer.
#[repr(C)]
#[derive(Debug)]
pub enum Method {
    /// No bytes moved.
    None = 0,
    /// `DMA_BUF_IOCTL_RW_FILE` with direct I/O.
    RwFileDirect = 1,
    /// `DMA_BUF_IOCTL_RW_FILE` through the page cache.
    RwFileBuffered = 2,
    /// Direct I/O on a mapping of the buffer.
    MappedDirect = 3,
    /// Read or write on a mapping of the buffer, through the page cache.
    MappedBuffered = 4,
}

/// Whether a transfer bypasses the page cache.
#[repr(C)]
#[derive(Debug)]
pub enum Mode {
    /// The best path there is.
    Auto = 0,
    /// All of it by direct I/O except the edges, or nothing.
    Direct = 1,
    /// Nothing by direct I/O.
    Buffered = 2,
}

/// Who waits for a request.
#[repr(C)]
#[derive(Debug)]
pub enum Priority {
    /// A person.
    Interactive = 0,
    /// A program.
    Normal = 1,
    /// Nobody.
    Background = 2,
}

/// The direction of a transfer.
#[repr(C)]
#[derive(Debug)]
pub enum Direction {
    /// From the file into the buffer.
    Load = 1,
    /// From the buffer into the file.
    Save = 2,
}

/// What of a save must be on stable storage when the call returns.
#[repr(C)]
#[derive(Debug)]
pub enum Durability {
    /// Nothing.
    None = 0,
    /// The data, as with `fdatasync(2)`.
    Data = 1,
    /// The data and all metadata, as with `fsync(2)`.
    Full = 2,
}

/// The reason why bytes did not take the best path.
#[repr(C)]
#[derive(Debug)]
pub enum FallbackReason {
    /// They did.
    None = 0,
    /// The caller asked for the page cache.
    Requested = 1,
    /// The kernel has no `DMA_BUF_IOCTL_RW_FILE`.
    NoIoctl = 2,
    /// The exporter of the buffer does not implement it.
    Exporter = 3,
    /// A device is attached to the buffer, or the kernel has mapped it.
    BufferBusy = 4,
    /// The file, or its file system, cannot do direct I/O.
    FileNotDirect = 5,
    /// A user-space daemon serves the file system.
    FileSystemStalls = 6,
    /// File offset and buffer offset differ modulo the page size.
    Unaligned = 7,
    /// The method needs a descriptor that was opened with `O_DIRECT`.
    DescriptorNotDirect = 8,
    /// The page cache holds most of it already.
    Resident = 9,
    /// The file has fs-verity.
    FileVerity = 10,
    /// The file is compressed.
    FileCompressed = 11,
    /// The file is encrypted without inline encryption.
    FileEncrypted = 12,
    /// The data of the file lies in its inode.
    FileInlineData = 13,
}

/// The permitted use of mapped memory.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Reading.
    Read = 1,
    /// Reading and writing.
    ReadWrite = 2,
}

/// Which of the snapshots of a task.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub enum Variant {
    /// All pixels.
    Full = 1,
    /// Half the width and half the height.
    Reduced = 2,
}

/// The number of a method, and of none.
pub fn of_method(method: Option<CoreMethod>) -> u32 {
    method.to_aidl().0 as u32
}

/// The number of a reason, and of none.
pub fn of_reason(reason: Option<CoreReason>) -> u32 {
    reason.to_aidl().0 as u32
}

/// The number of a heap.
pub fn of_heap(heap: CoreHeap) -> u32 {
    heap.to_aidl().0 as u32
}

/// The bits of some methods.
pub fn bits_of_methods(methods: &[CoreMethod]) -> u32 {
    methods.iter().fold(0, |bits, &each| bits | 1 << of_method(Some(each)))
}

/// Checks a number that stands for a value of the interface.
macro_rules! numbers {
    ($($function:ident: $core:ty = $aidl:path;)*) => {$(
        pub fn $function(number: u32) -> Result<$core, Error> {
            Ok(<$core as Wire>::from_aidl($aidl(number as i32))?)
        }
    )*};
}

numbers! {
    direction: CoreDirection = aidl::Direction::Direction;
    durability: CoreDurability = aidl::Durability::Durability;
    heap: CoreHeap = aidl::Heap::Heap;
    mode: CoreMode = aidl::Mode::Mode;
    priority: CorePriority = aidl::Priority::Priority;
}

pub fn access(number: u32) -> Result<mmap::Access, Error> {
    match number {
        _ if number == Access::Read as u32 => Ok(mmap::Access::Read),
        _ if number == Access::ReadWrite as u32 => Ok(mmap::Access::ReadWrite),
        _ => Err(Error::invalid(format_args!("access {number}: not a known value"))),
    }
}

pub fn variant(number: u32) -> Result<snapshot::Variant, Error> {
    match number {
        _ if number == Variant::Full as u32 => Ok(snapshot::Variant::Full),
        _ if number == Variant::Reduced as u32 => Ok(snapshot::Variant::Reduced),
        _ => Err(Error::invalid(format_args!("variant {number}: not a known value"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn numbers_are_those_of_the_interface() {
        use aidl::FallbackReason::FallbackReason as Reason;
        for (ours, theirs) in [
            (Heap::System as i32, aidl::Heap::Heap::SYSTEM.0),
            (Heap::Udmabuf as i32, aidl::Heap::Heap::UDMABUF.0),
            (Heap::Memfd as i32, aidl::Heap::Heap::MEMFD.0),
            (Heap::SystemDirect as i32, aidl::Heap::Heap::SYSTEM_DIRECT.0),
            (Method::None as i32, aidl::Method::Method::NONE.0),
            (Method::RwFileDirect as i32, aidl::Method::Method::RW_FILE_DIRECT.0),
            (Method::RwFileBuffered as i32, aidl::Method::Method::RW_FILE_BUFFERED.0),
            (Method::MappedDirect as i32, aidl::Method::Method::MAPPED_DIRECT.0),
            (Method::MappedBuffered as i32, aidl::Method::Method::MAPPED_BUFFERED.0),
            (Mode::Auto as i32, aidl::Mode::Mode::AUTO.0),
            (Mode::Direct as i32, aidl::Mode::Mode::DIRECT.0),
            (Mode::Buffered as i32, aidl::Mode::Mode::BUFFERED.0),
            (Priority::Interactive as i32, aidl::Priority::Priority::INTERACTIVE.0),
            (Priority::Normal as i32, aidl::Priority::Priority::NORMAL.0),
            (Priority::Background as i32, aidl::Priority::Priority::BACKGROUND.0),
            (Direction::Load as i32, aidl::Direction::Direction::LOAD.0),
            (Direction::Save as i32, aidl::Direction::Direction::SAVE.0),
            (Durability::None as i32, aidl::Durability::Durability::NONE.0),
            (Durability::Data as i32, aidl::Durability::Durability::DATA.0),
            (Durability::Full as i32, aidl::Durability::Durability::FULL.0),
            (FallbackReason::None as i32, Reason::NONE.0),
            (FallbackReason::Requested as i32, Reason::REQUESTED.0),
            (FallbackReason::NoIoctl as i32, Reason::NO_IOCTL.0),
            (FallbackReason::Exporter as i32, Reason::EXPORTER.0),
            (FallbackReason::BufferBusy as i32, Reason::BUFFER_BUSY.0),
            (FallbackReason::FileNotDirect as i32, Reason::FILE_NOT_DIRECT.0),
            (FallbackReason::FileSystemStalls as i32, Reason::FILE_SYSTEM_STALLS.0),
            (FallbackReason::Unaligned as i32, Reason::UNALIGNED.0),
            (FallbackReason::DescriptorNotDirect as i32, Reason::DESCRIPTOR_NOT_DIRECT.0),
            (FallbackReason::Resident as i32, Reason::RESIDENT.0),
            (FallbackReason::FileVerity as i32, Reason::FILE_VERITY.0),
            (FallbackReason::FileCompressed as i32, Reason::FILE_COMPRESSED.0),
            (FallbackReason::FileEncrypted as i32, Reason::FILE_ENCRYPTED.0),
            (FallbackReason::FileInlineData as i32, Reason::FILE_INLINE_DATA.0),
        ] {
            assert_eq!(ours, theirs);
        }
        // A value that the interface gained is missing above.
        let next = aidl::FallbackReason::FallbackReason(FallbackReason::FileInlineData as i32 + 1);
        Option::<CoreReason>::from_aidl(next).expect_err("no such reason");
        let next = aidl::Method::Method(Method::MappedBuffered as i32 + 1);
        Option::<CoreMethod>::from_aidl(next).expect_err("no such method");
    }

    #[test]
    fn unknown_number_is_an_error() {
        for refused in [
            direction(0).err(),
            durability(3).err(),
            heap(u32::MAX).err(),
            mode(3).err(),
            priority(7).err(),
            access(0).err(),
            variant(3).err(),
        ] {
            assert_eq!(refused.map(|error| error.kind), Some(ErrorKind::InvalidRequest));
        }
    }
}

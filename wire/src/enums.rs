//! The pairs of AIDL enums and core enums, variant by variant.

use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::Direction;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::Durability;
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;

/// A core type that has a counterpart in the interface.
pub trait Wire: Sized {
    /// The counterpart.
    type Aidl;

    /// The counterpart of this value.
    fn to_aidl(self) -> Self::Aidl;

    /// The value for `aidl`.
    ///
    /// # Errors
    /// `InvalidRequest` if this version of the interface does not know the number in `aidl`.
    fn from_aidl(aidl: Self::Aidl) -> Result<Self>;
}

/// Implements [`Wire`] from one table of pairs. The compiler rejects a table that lacks a variant
/// of the core type.
macro_rules! pairs {
    ($name:literal, $core:ty, $aidl:ty, $($ours:pat => $theirs:ident as $value:expr),+ $(,)?) => {
        impl Wire for $core {
            type Aidl = $aidl;

            fn to_aidl(self) -> $aidl {
                match self {
                    $($ours => <$aidl>::$theirs,)+
                }
            }

            fn from_aidl(aidl: $aidl) -> Result<Self> {
                match aidl {
                    $(<$aidl>::$theirs => Ok($value),)+
                    other => Err(Error::new(
                        ErrorKind::InvalidRequest,
                        format!("{}={}: unknown value", $name, other.0),
                    )),
                }
            }
        }

        #[cfg(test)]
        impl tests::Table for $core {
            fn table() -> Vec<(Self, $aidl)> {
                vec![$(($value, <$aidl>::$theirs)),+]
            }
        }
    };
}

pairs!("direction", Direction, aidl::Direction::Direction,
    Direction::Load => LOAD as Direction::Load,
    Direction::Save => SAVE as Direction::Save,
);

pairs!("mode", Mode, aidl::Mode::Mode,
    Mode::Auto => AUTO as Mode::Auto,
    Mode::Direct => DIRECT as Mode::Direct,
    Mode::Buffered => BUFFERED as Mode::Buffered,
);

pairs!("priority", Priority, aidl::Priority::Priority,
    Priority::Interactive => INTERACTIVE as Priority::Interactive,
    Priority::Normal => NORMAL as Priority::Normal,
    Priority::Background => BACKGROUND as Priority::Background,
);

pairs!("durability", Durability, aidl::Durability::Durability,
    Durability::None => NONE as Durability::None,
    Durability::Data => DATA as Durability::Data,
    Durability::Full => FULL as Durability::Full,
);

pairs!("heap", Heap, aidl::Heap::Heap,
    Heap::System => SYSTEM as Heap::System,
    Heap::SystemDirect => SYSTEM_DIRECT as Heap::SystemDirect,
    Heap::Udmabuf => UDMABUF as Heap::Udmabuf,
    Heap::Memfd => MEMFD as Heap::Memfd,
);

pairs!("method", Option<Method>, aidl::Method::Method,
    None => NONE as None,
    Some(Method::RwFileDirect) => RW_FILE_DIRECT as Some(Method::RwFileDirect),
    Some(Method::RwFileBuffered) => RW_FILE_BUFFERED as Some(Method::RwFileBuffered),
    Some(Method::MappedDirect) => MAPPED_DIRECT as Some(Method::MappedDirect),
    Some(Method::MappedBuffered) => MAPPED_BUFFERED as Some(Method::MappedBuffered),
);

pairs!("reason", Option<FallbackReason>, aidl::FallbackReason::FallbackReason,
    None => NONE as None,
    Some(FallbackReason::Requested) => REQUESTED as Some(FallbackReason::Requested),
    Some(FallbackReason::NoIoctl) => NO_IOCTL as Some(FallbackReason::NoIoctl),
    Some(FallbackReason::Exporter) => EXPORTER as Some(FallbackReason::Exporter),
    Some(FallbackReason::BufferBusy) => BUFFER_BUSY as Some(FallbackReason::BufferBusy),
    Some(FallbackReason::FileNotDirect) => FILE_NOT_DIRECT as Some(FallbackReason::FileNotDirect),
    Some(FallbackReason::FileVerity) => FILE_VERITY as Some(FallbackReason::FileVerity),
    Some(FallbackReason::FileCompressed) => FILE_COMPRESSED as Some(FallbackReason::FileCompressed),
    Some(FallbackReason::FileEncrypted) => FILE_ENCRYPTED as Some(FallbackReason::FileEncrypted),
    Some(FallbackReason::FileInlineData) =>
        FILE_INLINE_DATA as Some(FallbackReason::FileInlineData),
    Some(FallbackReason::FileSystemStalls) =>
        FILE_SYSTEM_STALLS as Some(FallbackReason::FileSystemStalls),
    Some(FallbackReason::Unaligned) => UNALIGNED as Some(FallbackReason::Unaligned),
    Some(FallbackReason::DescriptorNotDirect) =>
        DESCRIPTOR_NOT_DIRECT as Some(FallbackReason::DescriptorNotDirect),
    Some(FallbackReason::Resident) => RESIDENT as Some(FallbackReason::Resident),
);

#[cfg(test)]
mod tests;

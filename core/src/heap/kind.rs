//! The kinds of heaps.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A source of buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heap {
    /// The system heap, `/dev/dma_heap/system`: the product.
    System,
    /// The heap of `kernel/module`, `/dev/dma_heap/system-direct`: the same memory, in mappings that
    /// direct I/O can pin. For kernels without RW_FILE.
    SystemDirect,
    /// A memfd wrapped by `/dev/udmabuf`, for kernels without RW_FILE, and hosts without a system
    /// heap.
    Udmabuf,
    /// A plain memfd, the *embedded* heap: no device node, no root, and no dma-buf. Used only on
    /// request.
    Memfd,
}

impl Heap {
    /// All heaps, the product first.
    pub const ALL: [Self; 4] = [Self::System, Self::SystemDirect, Self::Udmabuf, Self::Memfd];

    /// The name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::SystemDirect => "system-direct",
            Self::Udmabuf => "udmabuf",
            Self::Memfd => "memfd",
        }
    }
}

impl Display for Heap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Heap {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|heap| heap.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("heap '{name}': not one of {names}")
        })
    }
}

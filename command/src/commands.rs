//! One file for each subcommand, and their shared options.

pub mod bench;
pub mod doctor;
pub mod dump;
pub mod expected;
pub mod load;
pub mod model;
pub mod probe;
pub mod save;
pub mod sliced;
pub mod snapshot;
pub mod stat;
pub mod stream;
pub mod verify;

use clap::ValueEnum;
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::Durability;

/// `--mode`
#[derive(Clone, Copy, ValueEnum)]
pub enum ModeArg {
    /// The best path there is
    Auto,
    /// Direct I/O or an error
    Direct,
    /// Through the page cache
    Buffered,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Auto => Self::Auto,
            ModeArg::Direct => Self::Direct,
            ModeArg::Buffered => Self::Buffered,
        }
    }
}

/// `--durability`
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// Nothing
    None,
    /// The data
    Data,
    /// The data, all metadata and the file's name
    Full,
}

impl From<DurabilityArg> for Durability {
    fn from(durability: DurabilityArg) -> Self {
        match durability {
            DurabilityArg::None => Self::None,
            DurabilityArg::Data => Self::Data,
            DurabilityArg::Full => Self::Full,
        }
    }
}

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
pub mod verify;

use clap::ValueEnum;
use dmabufio_core::method::Mode;

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

//! Options of the ring.

use crate::size;

/// Options of the ring.
#[derive(clap::Args)]
pub struct RingArgs {
    /// The length of a frame (suffixes K, M, G)
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = size::parse)]
    pub frame: u64,

    /// The buffers of the ring, at most 32
    #[arg(long, value_name = "COUNT", default_value = "8")]
    pub buffers: usize,
}

//! When the pieces of a transfer may move.

use crate::error::Result;

/// All turns but the last of a transfer have a multiple of so many bytes, so that no turn ends
/// within a block of the file system.
pub const TURN_UNIT: u64 = 1 << 20;

/// Says when pieces may move, and how many bytes at a time. It is asked before each piece, and hears
/// of all bytes that have moved.
pub trait Turns {
    /// Ends the turn before, in which `moved` bytes have moved; at the first call, none. Then waits
    /// until up to `wanted` bytes may move, and says how many: `wanted`, or fewer and a multiple of
    /// [`TURN_UNIT`]. Where `wanted` is 0 it does not wait: it counts as a sign of life only.
    ///
    /// # Errors
    /// Whatever ends the transfer: no more bytes may move.
    fn next(&mut self, moved: u64, wanted: u64) -> Result<u64>;
}

/// Everything may move at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Turns for Unlimited {
    fn next(&mut self, _moved: u64, wanted: u64) -> Result<u64> {
        Ok(wanted)
    }
}

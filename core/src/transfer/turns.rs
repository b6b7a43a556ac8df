//! When the pieces of a transfer may move.

use crate::error::Result;
use std::time::{Duration, Instant};

/// All turns but the last of a transfer have a multiple of so many bytes, so that no turn ends
/// within a block of the file system.
pub const TURN_UNIT: u64 = 1 << 20;

/// Says when pieces may move, and how many bytes at a time. It is asked before each piece, and
/// hears of all bytes that have moved.
pub trait Turns {
    /// Ends the turn before, in which `moved` bytes have moved; at the first call, none. Then waits
    /// until up to `wanted` bytes may move, and says how many: `wanted`, or fewer and a multiple of
    /// [`TURN_UNIT`]. Where `wanted` is 0 it does not wait: it counts as a sign of life only.
    ///
    /// # Errors
    /// Whatever ends the transfer: no more bytes may move.
    fn next(&mut self, moved: u64, wanted: u64) -> Result<u64>;
}

/// Turns, and how long they have been waited for.
pub(super) struct Timed<'a> {
    turns: &'a mut dyn Turns,
    pub waited: Duration,
}

impl<'a> Timed<'a> {
    pub fn new(turns: &'a mut dyn Turns) -> Self {
        Self { turns, waited: Duration::ZERO }
    }
}

impl Turns for Timed<'_> {
    fn next(&mut self, moved: u64, wanted: u64) -> Result<u64> {
        let start = Instant::now();
        let turn = self.turns.next(moved, wanted);
        self.waited += start.elapsed();
        turn
    }
}

/// Everything may move at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Turns for Unlimited {
    fn next(&mut self, _moved: u64, wanted: u64) -> Result<u64> {
        Ok(wanted)
    }
}

#[cfg(test)]
pub(super) mod few;

#[cfg(test)]
mod tests {
    use super::few::Few;
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::extent::{Direction, Extent};
    use crate::file::RegularFile;
    use crate::heap::{Allocator, Heap};
    use crate::method::Mode;
    use crate::transfer::{transfer_in_turns, Durability, Request};
    use rustix::fd::AsFd;
    use rustix::io::pread;
    use std::io::Write;
    use std::thread::sleep;

    const LEN: u64 = 5 * TURN_UNIT + 1234;

    /// Loads a file of [`LEN`] bytes 7 in at most `left` turns. Returns the result, what was asked
    /// for, and how many bytes of the buffer are filled.
    fn load(left: usize) -> (Result<u64>, Vec<(u64, u64)>, u64) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; LEN as usize]).expect("write");
        let allocated = Allocator::open(Heap::Memfd).and_then(|heap| heap.allocate(LEN));
        let allocated = allocated.expect("allocate");
        let request = Request {
            buffer: &allocated.buffer(),
            file: &RegularFile::new(file.as_fd(), Heap::Memfd).expect("a regular file"),
            extents: &[Extent { file_offset: 0, buffer_offset: 0, len: LEN }],
            direction: Direction::Load,
            mode: Mode::Buffered,
            durability: Durability::None,
        };
        let mut turns = Few { left, asked: Vec::new() };
        let result = transfer_in_turns(&request, &mut turns).map(|receipt| receipt.bytes());
        let mut content = vec![0; LEN as usize];
        assert_eq!(pread(&allocated.fd, &mut content, 0), Ok(content.len()));
        let filled = content.iter().filter(|byte| **byte == 7).count() as u64;
        (result, turns.asked, filled)
    }

    #[test]
    fn turns_hear_of_every_byte_and_get_the_last_turn_back() {
        let (result, asked, filled) = load(usize::MAX);
        assert_eq!((result, filled), (Ok(LEN), LEN));
        assert_eq!(asked[0], (0, LEN));
        assert_eq!(asked[1], (TURN_UNIT, LEN - TURN_UNIT));
        assert_eq!(asked.last(), Some(&(1234, 0)));
        assert_eq!(asked.iter().map(|(moved, _)| moved).sum::<u64>(), LEN);
    }

    /// A long wait for each turn.
    struct Slow;

    impl Turns for Slow {
        fn next(&mut self, _moved: u64, wanted: u64) -> Result<u64> {
            sleep(Duration::from_millis(if wanted > 0 { 300 } else { 0 }));
            Ok(wanted)
        }
    }

    #[test]
    fn time_in_the_queue_is_no_time_in_io() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[7; 4096]).expect("write");
        let allocated = Allocator::open(Heap::Memfd).and_then(|heap| heap.allocate(4096));
        let allocated = allocated.expect("allocate");
        let request = Request {
            buffer: &allocated.buffer(),
            file: &RegularFile::new(file.as_fd(), Heap::Memfd).expect("a regular file"),
            extents: &[Extent { file_offset: 0, buffer_offset: 0, len: 4096 }],
            direction: Direction::Load,
            mode: Mode::Buffered,
            durability: Durability::None,
        };
        let receipt = transfer_in_turns(&request, &mut Slow).expect("load");
        assert!(receipt.queue >= Duration::from_millis(300), "{receipt:?}");
        assert!(receipt.io < Duration::from_millis(300), "{receipt:?}");
    }

    #[test]
    fn transfer_without_a_turn_ends_and_moves_no_more() {
        for (left, filled) in [(0, 0), (2, 2 * TURN_UNIT)] {
            let (result, asked, now) = load(left);
            let error = result.expect_err("it was cancelled");
            assert_eq!(error, Error::new(ErrorKind::Cancelled, "no more turns"));
            assert_eq!(now, filled);
            assert_eq!(asked.last(), Some(&(0, 0)), "the turn is given back");
        }
    }
}

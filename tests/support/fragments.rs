//! Memory in fragments: what is free is single pages.

use super::{allocate, PAGE};
use dmabufio_core::heap::Heap;
use rustix::fs::{fallocate, memfd_create, FallocateFlags, MemfdFlags};
use std::fs;
use std::os::fd::OwnedFd;

/// Free memory that is left to the rest of the system while the fragments are made.
const LEFT: u64 = 256 << 20;
/// The smallest block, as a power of two of pages, that the heap takes in one piece: 64 KiB.
const SMALLEST_ORDER: usize = 4;
/// The size of the buffers that find out whether blocks are left.
const PROBE: u64 = 16 << 20;
/// As many of them at most, so that a heap that makes blocks ends the test.
const PROBES: usize = 8;
const PROACTIVENESS: &str = "/proc/sys/vm/compaction_proactiveness";

/// Memory that is in use in every second page, until dropped.
pub struct Fragments {
    _held: OwnedFd,
    _blocks: Vec<OwnedFd>,
    proactiveness: String,
}

impl Fragments {
    /// Leaves `free` bytes in single pages, and next to nothing in larger pieces that the heap could take.
    pub fn new(free: u64) -> Self {
        // The kernel would join the pages again, in the background.
        let proactiveness = fs::read_to_string(PROACTIVENESS).expect("read the setting");
        fs::write(PROACTIVENESS, "0").expect("stop the compaction");
        let held = memfd_create("fragments", MemfdFlags::CLOEXEC).expect("memfd_create");
        // The buffers that find blocks take single pages, too.
        let free = free + PROBE * PROBES as u64;
        let len = (free_memory() - LEFT) / PAGE * PAGE;
        assert!(len > 2 * free, "{len} bytes are too few to leave {free} of them");
        fallocate(&held, FallocateFlags::empty(), 0, len).expect("take the memory");
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for at in (0..2 * free).step_by(2 * PAGE as usize) {
            fallocate(&held, hole, at, PAGE).expect("give a page back");
        }
        // What was left to the system is in large blocks still, which the heap would take first.
        let mut blocks = Vec::new();
        let len = in_blocks();
        if len > 0 {
            blocks.push(allocate(Heap::SystemDirect, len));
        }
        // The system may give more of them back meanwhile.
        let mut found = Vec::new();
        loop {
            let before = in_blocks();
            let probe = allocate(Heap::SystemDirect, PROBE);
            found.push(before.saturating_sub(in_blocks()));
            if found.last() < Some(&(PROBE / 16)) {
                break;
            }
            assert!(
                found.len() < PROBES,
                "buffers of {PROBE} bytes have {found:?} bytes in blocks"
            );
            blocks.push(probe);
        }
        Self { _held: held, _blocks: blocks, proactiveness }
    }
}

impl Drop for Fragments {
    fn drop(&mut self) {
        let _ = fs::write(PROACTIVENESS, &self.proactiveness);
    }
}

/// The free memory in bytes.
fn free_memory() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").expect("read");
    let line = info.lines().find_map(|line| line.strip_prefix("MemFree:")).expect("the line");
    let kib = line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number");
    kib << 10
}

/// The bytes of free memory in blocks that the heap takes in one piece.
fn in_blocks() -> u64 {
    let info = fs::read_to_string("/proc/buddyinfo").expect("read");
    let zone = |line: &str| {
        // Node and name of the zone are four words; then the number of blocks of each order.
        let counts = line.split_whitespace().skip(4).enumerate().skip(SMALLEST_ORDER);
        counts
            .map(|(order, count)| (count.parse::<u64>().expect("a number") * PAGE) << order)
            .sum::<u64>()
    };
    info.lines().map(zone).sum()
}

//! Looks at the page cache on behalf of the service, which may not.
//!
//! See docs/design/0002-predict-do-prove.md#the-client-looks-at-the-page-cache-for-the-service

use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::sys::sysconf::page_size;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::watch::Watch;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// The ranges of a file that a load is about to read.
pub(crate) struct Ranges<'a> {
    file: RegularFile<'a>,
    ranges: Vec<Range<u64>>,
}

impl<'a> Ranges<'a> {
    /// `None` if `file` cannot be loaded; the service then reports the reason.
    pub fn of_load(file: BorrowedFd<'a>, extents: &[Extent]) -> Option<Self> {
        // The heap only matters to files that are buffers, which the service refuses.
        let file = RegularFile::new(file, Heap::System).ok()?;
        file.check_access(Direction::Load).ok()?;
        Some(Self { file, ranges: Vec::new() }.with(extents))
    }

    /// Other ranges of the same file.
    pub fn with(&self, extents: &[Extent]) -> Self {
        let file = self.file;
        let end = |extent: &Extent| extent.file_end().min(file.size());
        let ranges = extents.iter().map(|extent| extent.file_offset..end(extent));
        Self { file, ranges: ranges.filter(|range| !range.is_empty()).collect() }
    }

    /// Whether a copy is faster than reading the file again: the service would use direct I/O, and
    /// the page cache holds more than half of the ranges.
    pub fn are_resident(&self, methods: &[Method]) -> bool {
        let direct = methods.contains(&Method::RwFileDirect) && self.file.direct_align().is_some();
        if !direct || self.file.is_o_direct() {
            return false;
        }
        let cached = |range: &Range<u64>| self.file.cached_pages(range.clone()).unwrap_or(0);
        let cached: u64 = self.ranges.iter().map(cached).sum();
        let all: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        cached.saturating_mul(page_size()) > all / 2
    }

    /// Counts the cached pages before a load in `mode`.
    pub fn watch(&self, mode: Mode) -> Option<Watch<'_>> {
        (mode != Mode::Buffered).then(|| Watch::start(&self.file, &self.ranges)).flatten()
    }
}

/// The plan for a resident extent, which the service moves in mode `Buffered`, in place of `plan`.
pub(crate) fn plan_resident(plan: ExtentPlan) -> ExtentPlan {
    let moved = plan.direct + plan.bounced + plan.buffered;
    ExtentPlan {
        direct: 0,
        bounced: 0,
        buffered: moved,
        method: plan.method.map(Method::buffered),
        reason: (moved > 0).then_some(FallbackReason::Resident),
    }
}

/// The receipt of a load, with the knowledge of the client added: it asked for mode `Buffered`
/// because the file is `resident`, or it saw the page cache after direct I/O.
///
/// See docs/design/0002-predict-do-prove.md#a-receipt-is-checked-against-the-page-cache
pub(crate) fn receipt_seen(receipt: Receipt, resident: bool, watch: Option<Watch<'_>>) -> Receipt {
    if resident && receipt.first_fallback == Some(FallbackReason::Requested) {
        return Receipt { first_fallback: Some(FallbackReason::Resident), ..receipt };
    }
    // Bytes that the service reports as copied are in the page cache too, and look the same.
    if receipt.checked || receipt.direct == 0 || receipt.buffered > 0 {
        return receipt;
    }
    match watch.and_then(|watch| watch.was_buffered()) {
        Some(true) => receipt.found_buffered(),
        Some(false) => Receipt { checked: true, ..receipt },
        None => receipt,
    }
}

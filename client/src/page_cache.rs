//! Looks at the page cache on behalf of the service, which may not.
//!
//! See docs/design/0002-predict-do-prove.md#the-client-looks-at-the-page-cache-for-the-service

use dmabufio_core::extent::{merge, Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method, Mode};
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::watch::{absent, Watch};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// The runs of a load: ranges of the file, and the extents that each of them joins.
pub(crate) struct Runs<'a> {
    file: RegularFile<'a>,
    /// As indices into the request.
    members: Vec<Vec<usize>>,
    ranges: Vec<Range<u64>>,
}

impl<'a> Runs<'a> {
    /// `None` if `file` cannot be loaded; the service then reports the reason.
    pub fn of_load(file: BorrowedFd<'a>, extents: &[Extent]) -> Option<Self> {
        // The heap only matters to files that are buffers, which the service refuses.
        let file = RegularFile::new(file, Heap::System).ok()?;
        file.check_access(Direction::Load).ok()?;
        Some(Self { file, members: Vec::new(), ranges: Vec::new() }.with(extents))
    }

    /// Other runs of the same file.
    pub fn with(&self, extents: &[Extent]) -> Self {
        let file = self.file;
        let range = |run: &Extent| run.file_offset..run.file_end().min(file.size());
        let runs = merge(extents).into_iter().map(|(members, run)| (members, range(&run)));
        let (members, ranges) = runs.filter(|(_, range)| !range.is_empty()).unzip();
        Self { file, members, ranges }
    }

    /// For each of `count` extents, whether a copy of its run is faster than reading the file again:
    /// the service would use direct I/O, and the page cache holds more than half of the run.
    pub fn resident(&self, methods: &[Method], count: usize) -> Vec<bool> {
        let mut resident = vec![false; count];
        let direct = methods.contains(&Method::RwFileDirect) && self.file.direct_align().is_some();
        if direct && !self.file.is_o_direct() {
            for (members, range) in self.members.iter().zip(&self.ranges) {
                let cached = self.file.is_mostly_cached(range.clone());
                members.iter().for_each(|&member| resident[member] = cached);
            }
        }
        resident
    }

    /// Counts the cached pages before a load in `mode`.
    pub fn watch(&self, mode: Mode) -> Option<Watch<'_>> {
        (mode != Mode::Buffered).then(|| Watch::start(&self.file, &self.ranges)).flatten()
    }

    /// The ranges that a load in mode `Auto` must not leave in the page cache: what it holds nothing
    /// of now.
    pub fn absent(&self) -> Vec<Range<u64>> {
        if self.file.is_o_direct() {
            return Vec::new();
        }
        self.ranges.iter().flat_map(|range| absent(&self.file, range.clone())).collect()
    }

    /// Lets the page cache drop `ranges`.
    pub fn forget(&self, ranges: Vec<Range<u64>>) {
        ranges.into_iter().for_each(|range| self.file.forget(range));
    }
}

/// Splits extents into those that are `resident` and the others. A half without bytes is `None`. In
/// each half the extents of the other one are empty, so that every extent keeps its number.
pub(crate) fn split(extents: &[Extent], resident: &[bool]) -> [Option<Vec<Extent>>; 2] {
    [true, false].map(|half| {
        let mut picked = extents.to_vec();
        for (i, extent) in picked.iter_mut().enumerate() {
            if resident.get(i).copied().unwrap_or(false) != half {
                extent.len = 0;
            }
        }
        picked.iter().any(|extent| !extent.is_empty()).then_some(picked)
    })
}

/// The same places, without bytes.
pub(crate) fn emptied(extents: &[Extent]) -> Vec<Extent> {
    extents.iter().map(|extent| Extent { len: 0, ..*extent }).collect()
}

/// The receipt of one load that two calls made: one for the `resident` runs, one for the `others`.
pub(crate) fn joined(resident: Receipt, others: Receipt) -> Receipt {
    // Of two methods that moved the same, the better one.
    let most = if resident.bytes() > others.bytes() { resident } else { others };
    Receipt {
        direct: resident.direct + others.direct,
        bounced: resident.bounced + others.bounced,
        buffered: resident.buffered + others.buffered,
        method: most.method,
        first_fallback: resident.first_fallback.or(others.first_fallback),
        checked: others.checked,
        queue: resident.queue + others.queue,
        io: resident.io + others.io,
        sync: resident.sync + others.sync,
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

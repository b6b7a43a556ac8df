//! Looks at the page cache on behalf of the service, which may not.
//!
//! See docs/design/0002-predict-do-prove.md#the-client-looks-at-the-page-cache-for-the-service

use dmabufio_core::extent::{merge, Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Method};
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::watch::{absent, Watch};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// A file to load, of which the page cache may hold a part.
pub(crate) struct CachedFile<'a>(RegularFile<'a>);

impl<'a> CachedFile<'a> {
    /// `None` if `file` cannot be loaded; the service then reports the reason.
    pub fn new(file: BorrowedFd<'a>) -> Option<Self> {
        // The heap matters only if the file is a buffer, which the service refuses.
        let file = RegularFile::new(file, Heap::System).ok()?;
        file.check_access(Direction::Load).ok()?;
        Some(Self(file))
    }

    /// For each extent, whether a copy of its run is faster than direct I/O: the page cache holds more
    /// than half of the run.
    pub fn resident(&self, extents: &[Extent]) -> Vec<bool> {
        let mut resident = vec![false; extents.len()];
        if self.0.direct_align().is_some() && !self.0.is_o_direct() {
            for (members, range) in self.runs(extents) {
                let cached = self.0.is_mostly_cached(range);
                members.into_iter().for_each(|member| resident[member] = cached);
            }
        }
        resident
    }

    /// Splits extents into those that are resident and the others.
    pub fn split(&self, extents: &[Extent]) -> Split {
        let resident = self.resident(extents);
        let half = |wanted| {
            let pick = |(extent, &resident): (&Extent, _)| match resident == wanted {
                true => *extent,
                false => Extent { len: 0, ..*extent },
            };
            extents.iter().zip(&resident).map(pick).collect()
        };
        Split { resident: half(true), rest: half(false) }
    }

    /// Counts the cached pages before a load by direct I/O.
    pub fn watch(&self, extents: &[Extent]) -> Option<Watch<'_>> {
        Watch::start(&self.0, self.runs(extents).map(|(_, range)| range).collect())
    }

    /// The ranges that a load in mode `Auto` must not leave in the page cache, because the page cache
    /// does not hold them now.
    pub fn absent(&self, extents: &[Extent]) -> Vec<Range<u64>> {
        if self.0.is_o_direct() {
            return Vec::new();
        }
        self.runs(extents).flat_map(|(_, range)| absent(&self.0, range)).collect()
    }

    /// Lets the page cache drop `ranges`.
    pub fn forget(&self, ranges: Vec<Range<u64>>) {
        ranges.into_iter().for_each(|range| self.0.forget(range));
    }

    /// The runs of a load: the extents that each of them joins, as indices, and its range of the
    /// file.
    fn runs(&self, extents: &[Extent]) -> impl Iterator<Item = (Vec<usize>, Range<u64>)> {
        let size = self.0.size();
        let range = move |run: Extent| run.file_offset..run.file_end().min(size);
        let runs = merge(extents).into_iter().map(move |(members, run)| (members, range(run)));
        runs.filter(|(_, range)| !range.is_empty())
    }
}

/// The extents of a load, split into those that are resident and the rest. In each half, the
/// extents of the other half are empty, so that every extent keeps its number.
pub(crate) struct Split {
    pub resident: Vec<Extent>,
    pub rest: Vec<Extent>,
}

impl Split {
    /// Nothing is resident.
    pub fn none(extents: &[Extent]) -> Self {
        Self { resident: Vec::new(), rest: extents.to_vec() }
    }

    /// Whether any byte is resident.
    pub fn has_resident(&self) -> bool {
        has_bytes(&self.resident)
    }
}

/// Whether all bytes of a load are resident. A load without bytes is not.
pub(crate) fn all_resident(items: &[Split]) -> bool {
    items.iter().any(Split::has_resident) && !items.iter().any(|split| has_bytes(&split.rest))
}

fn has_bytes(extents: &[Extent]) -> bool {
    extents.iter().any(|extent| !extent.is_empty())
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

/// The receipt of a load in mode `Buffered` that the client chose because the bytes are resident.
pub(crate) fn receipt_resident(receipt: Receipt) -> Receipt {
    match receipt.first_fallback {
        Some(FallbackReason::Requested) => {
            Receipt { first_fallback: Some(FallbackReason::Resident), ..receipt }
        }
        _ => receipt,
    }
}

/// The receipt of a load, checked against the page cache if the service could not do this.
///
/// See docs/design/0002-predict-do-prove.md#a-receipt-is-checked-against-the-page-cache
pub(crate) fn receipt_checked(receipt: Receipt, watch: Option<Watch<'_>>) -> Receipt {
    // Bytes that the service reports as buffered are in the page cache too, and look the same.
    if receipt.checked || receipt.direct == 0 || receipt.buffered > 0 {
        return receipt;
    }
    match watch.and_then(|watch| watch.was_buffered()) {
        Some(true) => receipt.found_buffered(),
        Some(false) => Receipt { checked: true, ..receipt },
        None => receipt,
    }
}

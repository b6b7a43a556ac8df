//! Checks with the page cache whether direct I/O was direct.
//!
//! A load by direct I/O may succeed although f2fs or ext4 moved the data through the page cache:
//! for example, the file got fs-verity after the check of its alignment. Only the page cache shows
//! this, because it then holds the loaded data.
//!
//! See docs/design/0002-predict-do-prove.md#a-receipt-is-checked-against-the-page-cache

use crate::file::RegularFile;
use crate::sys::sysconf;
use std::ops::Range;

/// The fewest pages that are evidence. Fewer may come from the readahead of an edge.
const MIN_PAGES: u64 = 16;

/// The pages of a file in the page cache before a load.
#[derive(Debug)]
pub struct Watch<'a> {
    file: &'a RegularFile<'a>,
    ranges: Vec<Range<u64>>,
    cached: u64,
    missing: u64,
}

impl<'a> Watch<'a> {
    /// Counts the cached pages that lie wholly in `ranges` of `file`, in bytes.
    ///
    /// `None` if the load would prove nothing: the kernel does not show the page cache (see
    /// [`RegularFile::cached_pages`]), it holds most of the ranges already, or they are shorter
    /// than 64 KiB.
    ///
    /// See docs/design/0002-predict-do-prove.md#only-a-complete-check-sets-checked
    pub fn start(file: &'a RegularFile<'a>, ranges: Vec<Range<u64>>) -> Option<Self> {
        let page_size = sysconf::page_size();
        let pages: u64 = whole_pages(&ranges).map(|range| range.end - range.start).sum();
        let pages = pages / page_size;
        if pages < MIN_PAGES {
            return None;
        }
        let cached = count(file, &ranges)?;
        let missing = pages.saturating_sub(cached);
        (missing >= pages / 2).then_some(Self { file, ranges, cached, missing })
    }

    /// After the load: whether the page cache took in most of the missing pages. Another process
    /// that reads the same file at the same time has the same effect.
    pub fn was_buffered(&self) -> Option<bool> {
        let grown = count(self.file, &self.ranges)?.saturating_sub(self.cached);
        Some(grown > self.missing / 2)
    }
}

/// The shortest range that is worth a question, in bytes. Shorter ranges stay in the page cache.
const MIN_ABSENT: u64 = 256 << 10;

/// The parts of a range of `file`, in bytes, of which the page cache holds no page. Empty if the
/// kernel does not show the page cache.
pub fn absent(file: &RegularFile<'_>, range: Range<u64>) -> Vec<Range<u64>> {
    let mut absent = Vec::new();
    let mut open = vec![range];
    open.retain(|range| range.end - range.start >= MIN_ABSENT);
    while let Some(range) = open.pop() {
        let len = range.end - range.start;
        match file.cached_pages(range.clone()) {
            None => return Vec::new(),
            Some(0) => absent.push(range),
            Some(cached) if len > MIN_ABSENT && cached * sysconf::page_size() < len => {
                let half = len / 2;
                let middle = (range.start + half) / sysconf::page_size() * sysconf::page_size();
                open.extend([range.start..middle, middle..range.end]);
            }
            Some(_) => {}
        }
    }
    absent
}

/// The number of cached pages in the ranges, if the kernel shows it.
fn count(file: &RegularFile<'_>, ranges: &[Range<u64>]) -> Option<u64> {
    whole_pages(ranges).map(|range| file.cached_pages(range)).sum()
}

/// The ranges without partial pages at their ends.
fn whole_pages(ranges: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> + '_ {
    let page_size = sysconf::page_size();
    let whole = move |range: &Range<u64>| {
        let end = range.end / page_size * page_size;
        // Empty if rounding up would overflow.
        range.start.checked_next_multiple_of(page_size).unwrap_or(end)..end
    };
    // A length of 0 would mean the rest of the file.
    ranges.iter().map(whole).filter(|range| range.start < range.end)
}

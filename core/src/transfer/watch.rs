//! Whether direct I/O was direct, by what the page cache says.
//!
//! f2fs and ext4 may copy through the page cache although a load by direct I/O was asked for and
//! succeeds: the file got fs-verity, say, since it was looked at. Nothing tells but the page cache,
//! which then holds what was loaded.
//!
//! See docs/design/0002-predict-do-prove.md#a-receipt-is-checked-against-the-page-cache

use crate::file::RegularFile;
use crate::sys::sysconf;
use std::ops::Range;

/// The fewest pages that prove anything. Fewer may be the readahead of an edge.
const MIN_PAGES: u64 = 16;

/// What the page cache held of a file before a load.
#[derive(Debug)]
pub struct Watch<'a> {
    file: &'a RegularFile<'a>,
    ranges: Vec<Range<u64>>,
    cached: u64,
    missing: u64,
}

impl<'a> Watch<'a> {
    /// Looks at the pages that lie wholly in `ranges` of `file`, in bytes.
    ///
    /// `None` if the load would prove nothing: the kernel does not tell (see
    /// [`RegularFile::cached_pages`]), most of it is cached already, or it is shorter than 64 KiB.
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

    /// After the load: whether the page cache took in most of what it did not hold. Another
    /// process that reads the same file meanwhile looks like that too.
    pub fn was_buffered(&self) -> Option<bool> {
        let grown = count(self.file, &self.ranges)?.saturating_sub(self.cached);
        Some(grown > self.missing / 2)
    }
}

/// The shortest range that is worth asking about, in bytes. The page cache keeps shorter ones.
const MIN_ABSENT: u64 = 256 << 10;

/// The parts of a range of `file`, in bytes, that the page cache holds nothing of. None where the
/// kernel does not tell.
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

/// How many pages of the ranges are cached, if the kernel tells.
fn count(file: &RegularFile<'_>, ranges: &[Range<u64>]) -> Option<u64> {
    whole_pages(ranges).map(|range| file.cached_pages(range)).sum()
}

/// The ranges without the pages that they share with others.
fn whole_pages(ranges: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> + '_ {
    let page_size = sysconf::page_size();
    let whole = move |range: &Range<u64>| {
        let end = range.end / page_size * page_size;
        // Empty, not rounded up beyond the end of all offsets.
        range.start.checked_next_multiple_of(page_size).unwrap_or(end)..end
    };
    // A length of 0 would mean the rest of the file.
    ranges.iter().map(whole).filter(|range| range.start < range.end)
}

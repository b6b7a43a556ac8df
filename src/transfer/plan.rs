//! Splits extents into what can go direct and what cannot.
//!
//! An extent whose offsets in file and buffer are equal modulo the alignment has a *body*, aligned
//! at both ends, and at each end an *edge* of less than one alignment unit. An extent that cannot
//! go direct is *copied* as a whole. Data is never shifted in place.

use super::Piece;
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{Direction, Extent};
use crate::file::RegularFile;
use crate::method::{FallbackReason, Method, Mode, Route, MAX_PIECE};

/// What part of an extent a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Aligned, for direct I/O.
    Body,
    /// Less than one alignment unit at an end of a body.
    Edge,
    /// All of an extent that cannot go direct.
    Copied,
}

/// A contiguous part of an extent, moved in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub role: Role,
    range: Piece,
}

impl Segment {
    fn new(role: Role, extent: &Extent, from: u64, to: u64) -> Self {
        let range = Piece {
            file_offset: extent.file_offset + from,
            buffer_offset: extent.buffer_offset + from,
            len: to - from,
        };
        Self { role, range }
    }

    /// The segment in pieces of at most [`MAX_PIECE`] bytes.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let Piece { file_offset, buffer_offset, len } = self.range;
        (0..len.div_ceil(MAX_PIECE)).map(move |i| {
            let start = i * MAX_PIECE;
            Piece {
                file_offset: file_offset + start,
                buffer_offset: buffer_offset + start,
                len: (len - start).min(MAX_PIECE),
            }
        })
    }
}

/// An extent, split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitExtent {
    segments: [Segment; 3],
    /// Why this extent does not go the way of the route.
    pub reason: Option<FallbackReason>,
}

impl SplitExtent {
    /// The segments in file order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        self.segments.into_iter().filter(|segment| segment.range.len > 0)
    }

    /// Splits the first `len` bytes of `extent`; the rest lies beyond the end of the file.
    fn new(extent: &Extent, len: u64, route: Route) -> Self {
        let segment = |role, from, to| Segment::new(role, extent, from, to);
        let copied = |reason| Self {
            segments: [
                segment(Role::Copied, 0, len),
                segment(Role::Edge, len, len),
                segment(Role::Edge, len, len),
            ],
            reason,
        };
        if route.direct.is_none() {
            return copied(None);
        }
        let align = route.align;
        if extent.file_offset % align != extent.buffer_offset % align {
            return copied(Some(FallbackReason::Unaligned));
        }
        let start = extent.file_offset;
        let head = (start.next_multiple_of(align) - start).min(len);
        let tail = ((start + len) / align * align).saturating_sub(start).max(head);
        Self {
            segments: [
                segment(Role::Edge, 0, head),
                segment(Role::Body, head, tail),
                segment(Role::Edge, tail, len),
            ],
            reason: None,
        }
    }
}

/// What a transfer would do with one extent. The counts are bytes and add up to what would move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentPlan {
    /// Moved by direct I/O.
    pub direct: u64,
    /// Copied at the edges of a direct body.
    pub bounced: u64,
    /// Copied because the extent cannot go direct.
    pub buffered: u64,
    /// The method of the body, or of the edges if there is no body; `None` if nothing would move.
    pub method: Option<Method>,
    /// Why the extent would not take the best path.
    pub reason: Option<FallbackReason>,
}

/// The extents of a transfer, split.
#[derive(Debug)]
pub(crate) struct Plan {
    split: Vec<SplitExtent>,
    route: Route,
}

impl Plan {
    /// Splits `extents` for `route`. A load ends at the end of the file, as it is now.
    ///
    /// # Errors
    /// `NotDirect` if `mode` is [`Mode::Direct`] and a body byte cannot go direct;
    /// `InvalidRequest` if a save through an `O_DIRECT` descriptor is not aligned.
    pub fn new(
        extents: &[Extent],
        file: &RegularFile<'_>,
        direction: Direction,
        mode: Mode,
        route: Route,
    ) -> Result<Self> {
        let mut split = Vec::with_capacity(extents.len());
        for (i, extent) in extents.iter().enumerate() {
            let len = match direction {
                Direction::Load => extent.len.min(file.size().saturating_sub(extent.file_offset)),
                Direction::Save => extent.len,
            };
            let aligned = (extent.file_offset | len) % route.align == 0;
            if direction == Direction::Save && file.is_o_direct() && !aligned {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "extent {i}: {extent}: not a multiple of {} bytes, as a file opened with \
                         O_DIRECT needs it; open the file without O_DIRECT",
                        route.align
                    ),
                ));
            }
            let parts = SplitExtent::new(extent, len, route);
            let reason = parts.reason.or(route.reason);
            if mode == Mode::Direct && parts.segments().any(|part| part.role == Role::Copied) {
                let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                return Err(Error::new(
                    ErrorKind::NotDirect,
                    format!("extent {i}: {extent}: cannot go direct{why}"),
                ));
            }
            split.push(parts);
        }
        Ok(Self { split, route })
    }

    /// The extents, in the order of the request.
    pub fn extents(&self) -> &[SplitExtent] {
        &self.split
    }

    /// What the transfer will do with each extent, if nothing changes.
    pub fn predict(&self) -> Vec<ExtentPlan> {
        self.split.iter().map(|extent| self.predict_one(extent)).collect()
    }

    fn predict_one(&self, extent: &SplitExtent) -> ExtentPlan {
        let mut plan =
            ExtentPlan { direct: 0, bounced: 0, buffered: 0, method: None, reason: None };
        for segment in extent.segments() {
            let count = match segment.role {
                Role::Body => &mut plan.direct,
                Role::Edge => &mut plan.bounced,
                Role::Copied => &mut plan.buffered,
            };
            *count += segment.range.len;
            if segment.role != Role::Edge || plan.method.is_none() {
                plan.method = Some(segment.role.method(self.route));
            }
            if segment.role != Role::Edge {
                plan.reason = extent.reason.or(self.route.reason);
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests;

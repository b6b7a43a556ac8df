//! Splits extents into the parts that can go direct and the parts that cannot.
//!
//! Extents that continue each other in file and buffer are one *run*, so that only its ends can be
//! unaligned. The transfer moves runs in the order of the file, which suits the disk. A run whose
//! offsets in file and buffer are equal modulo the alignment has a *body*, aligned at both ends,
//! and at each end an *edge* of less than one alignment unit. A run that cannot go direct, or that
//! the page cache mostly holds already, is *buffered*: the CPU moves all of it. Data is never
//! shifted in place.

use super::piece::Piece;
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{merge, Direction, Extent};
use crate::file::RegularFile;
use crate::method::{FallbackReason, Method, Mode};
use crate::route::Route;

/// The role of a segment in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Aligned, for direct I/O.
    Body,
    /// Less than one alignment unit at an end of a body.
    Edge,
    /// All of a run that does not go direct.
    Buffered,
}

impl Role {
    /// The name of its moves in the trace.
    pub fn span(self) -> &'static str {
        match self {
            Self::Edge => "bounce",
            Self::Body | Self::Buffered => "io",
        }
    }

    /// The method for a segment of this role.
    pub fn method(self, route: Route) -> Method {
        match self {
            Self::Body => route.direct.unwrap_or(route.copy),
            Self::Edge | Self::Buffered => route.copy,
        }
    }
}

/// A contiguous part of a run that moves in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub role: Role,
    extent: Extent,
}

impl Segment {
    fn new(role: Role, whole: &Extent, from: u64, to: u64) -> Self {
        let extent = Extent {
            file_offset: whole.file_offset + from,
            buffer_offset: whole.buffer_offset + from,
            len: to - from,
        };
        Self { role, extent }
    }

    /// The number of bytes of `extent` in this segment of its run.
    fn overlap(&self, extent: &Extent) -> u64 {
        let end = self.extent.file_end().min(extent.file_end());
        end.saturating_sub(self.extent.file_offset.max(extent.file_offset))
    }

    /// The segment in pieces of at most `longest` bytes.
    pub fn pieces(self, longest: u64) -> impl Iterator<Item = Piece> {
        let Extent { file_offset, buffer_offset, len } = self.extent;
        (0..len.div_ceil(longest)).map(move |i| {
            let start = i * longest;
            Piece {
                file_offset: file_offset + start,
                buffer_offset: buffer_offset + start,
                len: (len - start).min(longest),
            }
        })
    }
}

/// Extents that continue each other, split.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The extents, as indices into the request, in the order of the file.
    members: Vec<usize>,
    segments: [Segment; 3],
    /// The reason why this run does not take the best method of the route.
    pub reason: Option<FallbackReason>,
}

impl Run {
    /// The segments in file order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        self.segments.iter().copied().filter(|segment| !segment.extent.is_empty())
    }

    /// The pieces in file order, of at most `longest` bytes.
    pub fn pieces(&self, longest: u64) -> impl Iterator<Item = (Role, Piece)> + '_ {
        let pieces =
            move |segment: Segment| segment.pieces(longest).map(move |piece| (segment.role, piece));
        self.segments().flat_map(pieces)
    }

    /// Splits the first `len` bytes of `whole`; the rest lies beyond the end of the file.
    fn new(members: Vec<usize>, whole: &Extent, len: u64, route: Route, resident: bool) -> Self {
        let segment = |role, from, to| Segment::new(role, whole, from, to);
        let align = route.align;
        let reason = if route.direct.is_none() {
            route.reason
        } else if whole.file_offset % align != whole.buffer_offset % align {
            Some(FallbackReason::Unaligned)
        } else if resident {
            Some(FallbackReason::Resident)
        } else {
            let start = whole.file_offset;
            let head = (start.next_multiple_of(align) - start).min(len);
            let tail = ((start + len) / align * align).saturating_sub(start).max(head);
            let segments = [
                segment(Role::Edge, 0, head),
                segment(Role::Body, head, tail),
                segment(Role::Edge, tail, len),
            ];
            return Self { members, segments, reason: None };
        };
        let nothing = segment(Role::Edge, len, len);
        Self { members, segments: [segment(Role::Buffered, 0, len), nothing, nothing], reason }
    }
}

/// A prediction of how a transfer would move one extent. The counts are bytes; their sum would move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtentPlan {
    /// Moved by direct I/O.
    pub direct: u64,
    /// Moved by the CPU at the edges of a direct body.
    pub bounced: u64,
    /// Moved by the CPU because the extent would not go direct.
    pub buffered: u64,
    /// The method of the body, or of the edges if there is no body; `None` if nothing would move.
    pub method: Option<Method>,
    /// The reason why the body would not take the best path.
    pub reason: Option<FallbackReason>,
}

/// The extents of a transfer, merged, ordered and split.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    extents: &'a [Extent],
    runs: Vec<Run>,
    route: Route,
}

impl<'a> Plan<'a> {
    /// Plans `extents` for `route`. A load ends at the end of the file, as it is now.
    ///
    /// # Errors
    /// `NotDirect` if `mode` is [`Mode::Direct`] and a body byte cannot go direct; `InvalidRequest`
    /// if a save through an `O_DIRECT` descriptor is not aligned.
    pub fn new(
        extents: &'a [Extent],
        file: &RegularFile<'_>,
        direction: Direction,
        mode: Mode,
        route: Route,
    ) -> Result<Self> {
        let mut runs = Vec::new();
        for (members, whole) in merge(extents) {
            let len = match direction {
                Direction::Load => whole.len.min(file.end().saturating_sub(whole.file_offset)),
                Direction::Save => whole.len,
            };
            let refused = |member: Option<&usize>, kind, why: String| {
                let i = member.copied().unwrap_or(0);
                Error::new(kind, format!("extent {i}: {}: {why}", extents[i]))
            };
            let (start, end) = (whole.file_offset % route.align, len % route.align);
            if direction == Direction::Save && file.is_o_direct() && (start | end) != 0 {
                let member = if start != 0 { members.first() } else { members.last() };
                let why = format!(
                    "not a multiple of {} bytes, as a file opened with O_DIRECT needs it; open \
                     the file without O_DIRECT",
                    route.align
                );
                return Err(refused(member, ErrorKind::InvalidRequest, why));
            }
            // A descriptor with O_DIRECT always bypasses the page cache.
            let resident = mode == Mode::Auto
                && direction == Direction::Load
                && route.direct.is_some()
                && !file.is_o_direct()
                && file.is_mostly_cached(whole.file_offset..whole.file_offset + len);
            let run = Run::new(members, &whole, len, route, resident);
            if mode == Mode::Direct && run.segments().any(|part| part.role == Role::Buffered) {
                let reason = run.reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let why = format!("cannot go direct{reason}");
                return Err(refused(run.members.first(), ErrorKind::NotDirect, why));
            }
            runs.push(run);
        }
        Ok(Self { extents, runs, route })
    }

    /// The runs, in the order of the file.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The extent of `run` that `piece` starts in, as an index into the request.
    pub fn extent_of(&self, run: &Run, piece: Piece) -> usize {
        let covers = |&&member: &&usize| self.extents[member].file_end() > piece.file_offset;
        run.members.iter().find(covers).copied().unwrap_or(0)
    }

    /// Predicts how the transfer will move each extent, if nothing changes.
    pub fn predict(&self) -> Vec<ExtentPlan> {
        let mut plans = vec![ExtentPlan::default(); self.extents.len()];
        for run in &self.runs {
            for &member in &run.members {
                plans[member] = self.predict_one(run, &self.extents[member]);
            }
        }
        plans
    }

    fn predict_one(&self, run: &Run, extent: &Extent) -> ExtentPlan {
        let mut plan = ExtentPlan::default();
        for segment in run.segments() {
            let len = segment.overlap(extent);
            if len == 0 {
                continue;
            }
            let count = match segment.role {
                Role::Body => &mut plan.direct,
                Role::Edge => &mut plan.bounced,
                Role::Buffered => &mut plan.buffered,
            };
            *count += len;
            if segment.role != Role::Edge || plan.method.is_none() {
                plan.method = Some(segment.role.method(self.route));
            }
            if segment.role != Role::Edge {
                plan.reason = run.reason.or(self.route.reason);
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests;

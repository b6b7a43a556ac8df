//! Moves many small pieces with one call of `DMA_BUF_IOCTL_RW_EXTENTS`, for which the kernel keeps
//! the disk busy.

use super::attempt::Moved;
use super::piece::{Piece, MAX_PIECE};
use super::plan::Role;
use super::request::Request;
use super::rw_file::{self, MAX_EXTENTS};
use super::turns::Turns;
use super::watch::Watch;
use crate::extent::Direction;
use crate::method::Method;
use crate::trace;
use std::mem;
use std::ops::Range;

/// Moves `pieces`, which are in the order of the file, as many in a turn as `turns` allows. Stops if
/// `turns` fails, or a piece. Omits failed pieces, and those that met the end of the file.
pub(super) fn move_bodies(
    request: &Request<'_>,
    mut pieces: &[Piece],
    turns: &mut dyn Turns,
) -> Vec<(Piece, Moved)> {
    let (mut done, mut unreported) = (Vec::new(), 0);
    while !pieces.is_empty() {
        let wanted = pieces.iter().map(|piece| piece.len).sum::<u64>().min(MAX_PIECE);
        let Ok(turn) = turns.next(mem::take(&mut unreported), wanted) else { break };
        let (now, later) = pieces.split_at(fitting(pieces, turn));
        pieces = later;
        let _span = trace::span(Role::Body.span());
        let watch = match request.direction {
            Direction::Load => Watch::start(request.file, joined(now)),
            Direction::Save => None,
        };
        let (counts, succeeded) = rw_file::extents(request, now);
        let found_buffered = watch.filter(|_| succeeded).and_then(|watch| watch.was_buffered());
        for (piece, len) in now.iter().zip(counts) {
            unreported += len;
            if len == piece.len {
                done.push((*piece, Moved { method: Method::RwFileDirect, len, found_buffered }));
            }
        }
        if !succeeded {
            break;
        }
    }
    // Gives the last turn back. If that fails, so does the next call, which says so.
    let _ = turns.next(unreported, 0);
    done
}

/// How many of `pieces` fit into a turn: one at least.
fn fitting(pieces: &[Piece], turn: u64) -> usize {
    let mut left = turn;
    let fits = |piece: &&Piece| {
        let fits = piece.len <= left;
        left = left.saturating_sub(piece.len);
        fits
    };
    pieces.iter().take(MAX_EXTENTS).take_while(fits).count().max(1)
}

/// Their ranges in the file. One that ends where the next one starts is joined with it.
fn joined(pieces: &[Piece]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for piece in pieces {
        let next = piece.in_file();
        match ranges.last_mut() {
            Some(last) if last.end == next.start => last.end = next.end,
            _ => ranges.push(next),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file_offset: u64, len: u64) -> Piece {
        Piece { file_offset, buffer_offset: 0, len }
    }

    #[test]
    fn turn_takes_the_pieces_that_fit_and_one_at_least() {
        let pieces = [piece(0, 10), piece(10, 20), piece(40, 1)];
        for (turn, count) in [(0, 1), (9, 1), (10, 1), (29, 1), (30, 2), (31, 3), (99, 3)] {
            assert_eq!(fitting(&pieces, turn), count, "{turn}");
        }
        let many = [piece(0, 1); MAX_EXTENTS + 1];
        assert_eq!(fitting(&many, u64::MAX), MAX_EXTENTS);
    }

    #[test]
    fn neighbours_in_the_file_are_one_range() {
        let pieces = [piece(0, 10), piece(10, 20), piece(40, 1), piece(41, 1)];
        assert_eq!(joined(&pieces), [0..30, 40..42]);
    }
}

//! Moves the pieces of a plan in the order of the file.

use super::ahead::Ahead;
use super::attempt::{Moved, Worker};
use super::durable::write_back;
use super::piece::{Piece, MAX_PIECE, MAX_STALLING_PIECE};
use super::plan::{Plan, Role, Run};
use super::receipt::{Receipt, Tally};
use super::request::Request;
use super::turns::Turns;
use crate::error::{Error, ErrorKind, Result};
use crate::method::{FallbackReason, Method, Mode};
use crate::route::Route;
use crate::trace;
use std::mem;
use std::time::Duration;

/// The number of bytes that a save moves before it syncs them. One sync at the end could take any
/// time without progress.
const SYNC_EVERY: u64 = 1 << 30;

/// The same on a file that may stall.
const SYNC_STALLING_EVERY: u64 = 16 << 20;

/// A running transfer.
#[derive(Debug)]
pub(super) struct Mover<'a> {
    request: &'a Request<'a>,
    route: Route,
    worker: Worker<'a>,
    tally: Tally,
    /// Bytes that have moved since the last sync.
    unsynced: u64,
    /// Time in syncs.
    sync: Duration,
    /// Bytes of the last turn, which `turns` has not heard of.
    unreported: u64,
}

impl<'a> Mover<'a> {
    pub fn new(request: &'a Request<'a>, route: Route) -> Self {
        let (worker, tally) = (Worker::new(request), Tally::default());
        Self { request, route, worker, tally, unsynced: 0, sync: Duration::ZERO, unreported: 0 }
    }

    /// Moves all pieces, each in its turn.
    pub fn run(mut self, plan: &Plan<'_>, turns: &mut dyn Turns) -> Result<Receipt> {
        let longest = if self.request.file.may_stall() { MAX_STALLING_PIECE } else { MAX_PIECE };
        // Only after a body went direct: until then it is unknown whether direct I/O works.
        let mut ahead: Option<Ahead> = None;
        for (i, run) in plan.runs().iter().enumerate() {
            for (role, piece) in run.pieces(longest) {
                let early = ahead.as_mut().and_then(|ahead| ahead.take(piece));
                let moved = match early {
                    Some(moved) => {
                        self.count(role, &moved, run.reason);
                        moved.len
                    }
                    None => self.move_in_turns(role, piece, plan, run, turns)?,
                };
                if moved < piece.len {
                    // The end of the file.
                    break;
                }
                self.sync_if_due(moved, turns)?;
                if role == Role::Body && ahead.is_none() && self.route.direct.is_some() {
                    let others = remaining(plan, i, piece, longest);
                    ahead = Some(Ahead::move_small(self.request, others, self.route, turns));
                }
            }
        }
        turns.next(self.unreported, 0)?;
        Ok(Receipt { id: trace::request(), sync: self.sync, ..self.tally.finish() })
    }

    /// Moves one piece, in as many turns as it takes. Returns how many bytes moved: fewer only at
    /// the end of the file.
    fn move_in_turns(
        &mut self,
        role: Role,
        piece: Piece,
        plan: &Plan<'_>,
        run: &Run,
        turns: &mut dyn Turns,
    ) -> Result<u64> {
        let mut done = 0;
        while done < piece.len {
            let left = piece.after(done);
            let len = turns.next(mem::take(&mut self.unreported), left.len)?.min(left.len);
            let moved = self
                .step(role, Piece { len, ..left })
                .map_err(|error| error.in_extent(plan.extent_of(run, left)))?;
            self.count(role, &moved, run.reason);
            self.unreported = moved.len;
            done += moved.len;
            if moved.len < len {
                break;
            }
        }
        Ok(done)
    }

    /// Adds what moved to the receipt.
    fn count(&mut self, role: Role, moved: &Moved, reason: Option<FallbackReason>) {
        self.tally.add(role, moved, reason.or(self.route.reason));
    }

    /// Moves one piece, and steps down the route if the kernel says so.
    fn step(&mut self, role: Role, piece: Piece) -> Result<Moved> {
        loop {
            let method = role.method(self.route);
            let _span = trace::span(role.span());
            match self.worker.attempt(self.route, method, piece) {
                Ok(moved) => return Ok(moved),
                Err(error) => self.route = self.step_down(method, piece, error)?,
            }
        }
    }

    /// The route after `error`, if the method is only not possible here and the mode allows
    /// another.
    fn step_down(&mut self, method: Method, piece: Piece, error: Error) -> Result<Route> {
        let Some(next) = error.errno().and_then(|errno| self.route.step_down(method, errno)) else {
            return Err(if self.tally.is_empty() { error } else { error.of_io() });
        };
        if self.request.mode == Mode::Direct {
            // Busy keeps its kind, because a retry may succeed. A failure after the first byte
            // keeps its kind, too: NotDirect promises that no byte has moved.
            if error.kind() == ErrorKind::Busy || self.has_moved(method, piece) {
                return Err(error);
            }
            return Err(Error::new(ErrorKind::NotDirect, error.to_string()));
        }
        log::debug!("{error}; going on by another method");
        Ok(next)
    }

    /// Whether bytes have moved, or may have moved when `method` failed on `piece`. To find out, it
    /// tries the first block again: the ioctl returns no count, and reads and writes return one
    /// only if their first block works.
    fn has_moved(&mut self, method: Method, piece: Piece) -> bool {
        let first = Piece { len: piece.len.min(self.route.align), ..piece };
        !self.tally.is_empty() || self.worker.attempt(self.route, method, first).is_ok()
    }

    fn sync_if_due(&mut self, moved: u64, turns: &mut dyn Turns) -> Result<()> {
        self.unsynced += moved;
        let may_stall = self.request.file.may_stall();
        if self.unsynced >= if may_stall { SYNC_STALLING_EVERY } else { SYNC_EVERY } {
            turns.next(mem::take(&mut self.unreported), 0)?;
            self.sync += write_back(self.request)?;
            self.unsynced = 0;
            turns.next(0, 0)?;
        }
        Ok(())
    }
}

/// The pieces of the bodies and edges that come after `piece` of run number `i`.
fn remaining<'a>(
    plan: &'a Plan<'_>,
    i: usize,
    piece: Piece,
    longest: u64,
) -> impl Iterator<Item = (Role, Piece)> + 'a {
    let pieces = plan.runs()[i..].iter().flat_map(move |run: &Run| run.pieces(longest));
    let behind = move |(role, other): &(Role, Piece)| *role != Role::Buffered && *other != piece;
    pieces.skip_while(move |(_, other)| *other != piece).filter(behind)
}

//! Moves several small pieces at a time.
//!
//! A disk serves many requests at a time, but most calls wait for one request of their own. With one
//! such call at a time, the disk would be idle between small extents that lie apart. Hence one call
//! for many where the kernel has it ([`together`]), and otherwise threads.

use super::attempt::{Moved, Worker};
use super::piece::Piece;
use super::plan::Role;
use super::request::Request;
use super::together;
use super::turns::Turns;
use crate::error::Result;
use crate::method::Method;
use crate::route::Route;
use crate::trace;
use std::collections::HashMap;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The longest piece to move beside others, in bytes. A longer one keeps the disk busy alone.
const SMALL: u64 = 2 << 20;

/// The fewest pieces that are worth the start of threads.
const MANY: usize = 8;

/// The number of pieces that move at a time.
const DEPTH: usize = 8;

/// Pieces that have moved before their turn.
#[derive(Debug)]
pub(super) struct Ahead(HashMap<Piece, Moved>);

/// What the threads of one [`Ahead::move_small`] share.
struct Round {
    state: Mutex<Progress>,
    changed: Condvar,
}

/// How far the threads are: all pieces before `next` are taken, those before `end` may be.
#[derive(Default)]
struct Progress {
    next: usize,
    end: usize,
    /// Threads that move a piece.
    busy: usize,
    /// No more pieces will be given out.
    over: bool,
    done: Vec<(Piece, Moved)>,
}

impl Round {
    /// Moves pieces with `attempt` until there are no more: in this turn, or at all if `wait`.
    fn work(&self, wait: bool, mut attempt: impl FnMut(usize) -> Result<(Piece, Moved)>) {
        let mut state = self.lock();
        loop {
            if state.over {
                return;
            } else if state.next < state.end {
                let i = state.next;
                state.next += 1;
                state.busy += 1;
                drop(state);
                let moved = attempt(i);
                state = self.lock();
                state.busy -= 1;
                match moved {
                    Ok(moved) => state.done.push(moved),
                    // Whoever tries it again says so. Until then the others may stop as well.
                    Err(_) => state.over = true,
                }
                self.changed.notify_all();
            } else if wait {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                return;
            }
        }
    }

    /// Lets the pieces before `end` move.
    fn start(&self, end: usize) {
        self.lock().end = end;
        self.changed.notify_all();
    }

    /// Waits until no thread moves a piece. Says how many bytes have moved so far, and whether
    /// there are to be more.
    fn finish(&self) -> (u64, bool) {
        let busy = |state: &mut Progress| state.busy > 0;
        let state = self.changed.wait_while(self.lock(), busy);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (state.done.iter().map(|(_, moved)| moved.len).sum(), !state.over)
    }

    /// Ends the other threads.
    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A panic of one thread ends the transfer with its own.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ahead {
    /// Moves the small ones of `pieces` by `route`, if there are many, as many in a turn as `turns`
    /// allows, and stops if `turns` fails. Omits failed pieces: the next attempt finds the reason.
    pub fn move_small(
        request: &Request<'_>,
        pieces: impl Iterator<Item = (Role, Piece)>,
        route: Route,
        turns: &mut dyn Turns,
    ) -> Self {
        let mut small: Vec<(Role, Piece)> =
            pieces.filter(|(_, piece)| piece.len <= SMALL).collect();
        let mut ahead = HashMap::new();
        if route.extents && route.direct == Some(Method::RwFileDirect) {
            let bodies = small.iter().filter(|(role, _)| *role == Role::Body);
            let bodies: Vec<Piece> = bodies.map(|(_, piece)| *piece).collect();
            small.retain(|(role, _)| *role != Role::Body);
            ahead.extend(together::move_bodies(request, &bodies, turns));
        }
        if small.len() >= MANY {
            ahead.extend(move_beside(request, &small, route, turns));
        }
        Self(ahead)
    }

    /// The result of `piece`, if it has moved.
    pub fn take(&mut self, piece: Piece) -> Option<Moved> {
        self.0.remove(&piece)
    }
}

/// Moves `small` by several threads.
fn move_beside(
    request: &Request<'_>,
    small: &[(Role, Piece)],
    route: Route,
    turns: &mut dyn Turns,
) -> Vec<(Piece, Moved)> {
    let round = Round { state: Mutex::default(), changed: Condvar::new() };
    let id = trace::request();
    let work = |wait: bool| {
        trace::set_request(id);
        let mut worker = Worker::new(request);
        round.work(wait, |i| {
            let (role, piece) = small[i];
            let _span = trace::span(role.span());
            worker.attempt(route, role.method(route), piece).map(|moved| (piece, moved))
        });
    };
    thread::scope(|scope| {
        let start = |_| {
            let thread = thread::Builder::new().name("transfer".to_owned());
            // Without this thread the others take longer.
            thread.spawn_scoped(scope, || work(true)).ok()
        };
        let _helpers: Vec<_> = (1..DEPTH).map_while(start).collect();
        let (mut end, mut told, mut unreported) = (0, 0, 0);
        while end < small.len() {
            let turn = turns.next(mem::take(&mut unreported), wanted(&small[end..]));
            let Ok(mut left) = turn else { break };
            // One piece at least.
            loop {
                left = left.saturating_sub(small[end].1.len);
                end += 1;
                if end == small.len() || small[end].1.len > left {
                    break;
                }
            }
            round.start(end);
            work(false);
            let (moved, more) = round.finish();
            (unreported, told) = (moved - told, moved);
            if !more {
                break;
            }
        }
        round.end();
        // Gives the last turn back. If that fails, so does the next call, which says so.
        let _ = turns.next(unreported, 0);
    });
    round.state.into_inner().unwrap_or_else(PoisonError::into_inner).done
}

/// The bytes of all these pieces.
fn wanted(pieces: &[(Role, Piece)]) -> u64 {
    pieces.iter().map(|(_, piece)| piece.len).sum()
}

#[cfg(test)]
mod tests;

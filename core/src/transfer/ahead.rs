//! Moves several small pieces at a time.
//!
//! A disk serves many requests at a time, but each call here waits for its own request. With one
//! call at a time, the disk would be idle between small extents that lie apart.

use super::attempt::{Moved, Worker};
use super::piece::Piece;
use super::plan::Role;
use super::request::Request;
use crate::error::Result;
use crate::route::Route;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
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

impl Ahead {
    /// Moves the small ones of `pieces` by `route`, if there are many. Calls `progress` regularly,
    /// and stops if it fails. Omits failed pieces: the next attempt finds the reason.
    pub fn move_small(
        request: &Request<'_>,
        pieces: impl Iterator<Item = (Role, Piece)>,
        route: Route,
        progress: &mut dyn FnMut() -> Result<()>,
    ) -> Self {
        let small: Vec<(Role, Piece)> = pieces.filter(|(_, piece)| piece.len <= SMALL).collect();
        if small.len() < MANY {
            return Self(HashMap::new());
        }
        let next = AtomicUsize::new(0);
        let work = |progress: &mut dyn FnMut() -> Result<()>| {
            let mut worker = Worker::new(request);
            let mut done = Vec::new();
            while let Some(&(role, piece)) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
                match worker.attempt(route, role.method(route), piece) {
                    Ok(moved) => done.push((piece, moved)),
                    // The next attempt reports the error. The other threads may stop now.
                    Err(_) => next.store(small.len(), Ordering::Relaxed),
                }
                if progress().is_err() {
                    next.store(small.len(), Ordering::Relaxed);
                }
            }
            done
        };
        let moved = thread::scope(|scope| {
            let start = |_| {
                let thread = thread::Builder::new().name("transfer".to_owned());
                // Without this thread the others take longer.
                thread.spawn_scoped(scope, || work(&mut || Ok(()))).ok()
            };
            let helpers: Vec<_> = (1..DEPTH).map_while(start).collect();
            let own = work(progress);
            let others = helpers.into_iter().filter_map(|helper| helper.join().ok());
            others.chain([own]).flatten().collect()
        });
        Self(moved)
    }

    /// The result of `piece`, if it has moved.
    pub fn take(&mut self, piece: Piece) -> Option<Moved> {
        self.0.remove(&piece)
    }
}

#[cfg(test)]
mod tests;

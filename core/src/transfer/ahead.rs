//! Moves small bodies several at a time.
//!
//! A disk serves many requests at a time, and each call here waits for its own. One at a time, small
//! extents that lie apart leave the disk idle between them.

use super::plan::Run;
use super::{attempt, Moved, Request};
use crate::method::{Piece, Route};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The longest body that is moved beside others, in bytes. Longer ones keep the disk busy alone.
const SMALL: u64 = 2 << 20;

/// The fewest bodies that are worth starting threads for.
const MANY: usize = 8;

/// How many bodies are moved at a time.
const DEPTH: usize = 8;

/// Moves the small bodies of `runs` from number `from` on by direct I/O, if there are many. One
/// outcome for each run: `None` for what has not moved, because it is not small or because it
/// failed. Trying it again finds out which.
pub(super) fn move_small_bodies(
    request: &Request<'_>,
    runs: &[Run],
    from: usize,
    route: Route,
) -> Vec<Option<Moved>> {
    let mut outcomes = vec![None; runs.len()];
    let small =
        |(i, run): (usize, &Run)| run.body().filter(|body| body.len <= SMALL).map(|body| (i, body));
    let small: Vec<(usize, Piece)> = runs.iter().enumerate().skip(from).filter_map(small).collect();
    if small.len() < MANY {
        return outcomes;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(&(i, piece)) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
            match attempt(request, route, route.direct?, piece) {
                Ok(moved) => done.push((i, moved)),
                // Whoever tries it again says so. Until then the others may stop as well.
                Err(_) => next.store(small.len(), Ordering::Relaxed),
            }
        }
        Some(done)
    };
    thread::scope(|scope| {
        let start = |_| {
            let thread = thread::Builder::new().name("transfer".to_owned());
            // Without it the others take longer.
            thread.spawn_scoped(scope, work).ok()
        };
        let helpers: Vec<_> = (1..DEPTH).map_while(start).collect();
        let own = work();
        let others = helpers.into_iter().map(|helper| helper.join().ok().flatten());
        for (i, moved) in others.chain([own]).flatten().flatten() {
            outcomes[i] = Some(moved);
        }
    });
    outcomes
}

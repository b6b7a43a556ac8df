//! One transfer: many extents between one buffer and one file.
//!
//! [`transfer`] checks everything that can be checked, then moves the extents, then makes a save
//! durable. It steps down from a method only if the kernel says that the method is not
//! possible for this buffer or this file, and the receipt says why.

mod ahead;
pub mod plan;
pub mod receipt;
pub mod watch;

use crate::dmabuf::DmaBuf;
use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::{check_placement, check_shape, Direction, Extent};
use crate::file::RegularFile;
use crate::method::{self, Job, Method, Mode, Piece, Route, MAX_PIECE, MAX_STALLING_PIECE};
use crate::probe;
use ahead::move_small_bodies;
use plan::{Plan, Role};
use receipt::{Receipt, Tally};
use rustix::fs::{fdatasync, fsync};
use std::time::{Duration, Instant};
use watch::Watch;

/// How many bytes a save to a file that may stall moves before it makes them durable: one sync at
/// the end could take any time, and show no progress.
const SYNC_EVERY: u64 = 16 << 20;

/// What must have reached stable storage when a save returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing.
    #[default]
    None,
    /// The data: `fdatasync(2)`.
    Data,
    /// The data and all metadata: `fsync(2)`.
    Full,
}

/// What to move.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The buffer.
    pub buffer: &'a DmaBuf<'a>,
    /// The file.
    pub file: &'a RegularFile<'a>,
    /// The ranges, moved in the order of the file.
    pub extents: &'a [Extent],
    /// Which way.
    pub direction: Direction,
    /// How much must bypass the page cache.
    pub mode: Mode,
    /// What must be on stable storage on return. [`Durability::None`] for a load.
    pub durability: Durability,
}

/// Moves data and says how. Blocks until it has moved.
///
/// # Errors
/// Every [`ErrorKind`]. `InvalidRequest`, `BadDescriptor`, `Unsupported` and `NotDirect` mean that
/// no byte has moved. After every other error the destination within the extents is undefined.
pub fn transfer(request: &Request<'_>) -> Result<Receipt> {
    transfer_with_progress(request, &mut || Ok(()))
}

/// [`transfer`], calling `progress` after every piece. If that fails the transfer ends there, with
/// its error.
pub fn transfer_with_progress(
    request: &Request<'_>,
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<Receipt> {
    let Request { buffer, file, extents, direction, mode, durability } = *request;
    check_shape(extents)?;
    check_placement(extents, buffer.size(), direction)?;
    buffer.check_access(direction)?;
    file.check_access(direction)?;
    if direction == Direction::Load && durability != Durability::None {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("durability={durability:?}: a load has nothing to make durable; use None"),
        ));
    }
    let route = Route::choose(probe::exporter(buffer, direction)?, file, mode)?;
    let plan = Plan::new(extents, file, direction, mode, route)?;

    let start = Instant::now();
    let mut receipt = run(request, &plan, route, progress)?;
    receipt.io = start.elapsed().saturating_sub(receipt.sync);

    receipt.sync += make_durable(file, durability)?;
    Ok(receipt)
}

/// Waits until what was saved is on stable storage, and returns how long that took.
fn make_durable(file: &RegularFile<'_>, durability: Durability) -> Result<Duration> {
    let start = Instant::now();
    let synced = match durability {
        Durability::None => return Ok(Duration::ZERO),
        Durability::Data => fdatasync(file.fd()).during(|| "file: fdatasync"),
        Durability::Full => fsync(file.fd()).during(|| "file: fsync"),
    };
    synced.map_err(Error::of_io)?;
    Ok(start.elapsed())
}

/// Moves the pieces of the plan, stepping down the route where the kernel says so.
fn run(
    request: &Request<'_>,
    plan: &Plan<'_>,
    mut route: Route,
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<Receipt> {
    let mut tally = Tally::default();
    let Request { file, mode, durability, .. } = *request;
    let longest = if file.stalls() { MAX_STALLING_PIECE } else { MAX_PIECE };
    let (mut sync, mut unsynced) = (Duration::ZERO, 0);
    // One for each run, once something went direct: until then nobody knows whether anything can.
    let mut ahead: Vec<Option<Moved>> = Vec::new();
    for (i, run) in plan.runs().iter().enumerate() {
        'run: for segment in run.segments() {
            let body = segment.role == Role::Body;
            for piece in segment.pieces(longest) {
                let mut early = ahead.get_mut(i).filter(|_| body).and_then(Option::take);
                let moved = loop {
                    let method = segment.role.method(route);
                    let outcome = match early.take() {
                        Some(moved) => Ok(moved),
                        None => attempt(request, route, method, piece),
                    };
                    match outcome {
                        Ok(moved) => {
                            tally.add(segment.role, &moved, run.reason.or(route.reason));
                            break moved.len;
                        }
                        Err(error) => {
                            let error = error.in_extent(plan.extent_of(run, piece));
                            let moved =
                                || !tally.is_empty() || has_begun(request, route, method, piece);
                            route = step_down(route, method, error, mode, moved)?;
                        }
                    }
                };
                progress()?;
                if moved < piece.len {
                    break 'run;
                }
                if body && ahead.is_empty() && route.direct.is_some() {
                    ahead = move_small_bodies(request, plan.runs(), i + 1, route);
                }
                unsynced += moved;
                if file.stalls() && unsynced >= SYNC_EVERY {
                    sync += make_durable(file, durability)?;
                    unsynced = 0;
                    progress()?;
                }
            }
        }
    }
    Ok(Receipt { sync, ..tally.finish() })
}

/// What one call moved.
#[derive(Debug, Clone, Copy)]
struct Moved {
    method: Method,
    /// Bytes, fewer than asked for only at the end of the file.
    len: u64,
    /// Whether the page cache took it in, if the kernel tells and it should not have.
    copied: Option<bool>,
}

/// Moves one piece by `method`, and looks at what that did to the page cache.
fn attempt(request: &Request<'_>, route: Route, method: Method, piece: Piece) -> Result<Moved> {
    let Request { buffer, file, direction, .. } = *request;
    let ranges = [piece.in_file()];
    let provable = method.is_direct() && direction == Direction::Load;
    let watch = provable.then(|| Watch::start(file, &ranges)).flatten();
    let uncached = route.uncached;
    let len = method::run(method, Job { buffer, file, direction, piece, uncached })?;
    // What was not there to be loaded was not cached either.
    let watch = watch.filter(|_| len == piece.len);
    Ok(Moved { method, len, copied: watch.and_then(|watch| watch.was_copied()) })
}

/// Whether `method` may have moved a part of `piece` before it failed: its first block can be moved
/// now. The ioctl does not say, and a read or write only once it has moved something.
fn has_begun(request: &Request<'_>, route: Route, method: Method, piece: Piece) -> bool {
    let first = Piece { len: piece.len.min(route.align), ..piece };
    attempt(request, route, method, first).is_ok()
}

/// The route to go on with after `error`, if the method is merely not possible here and the mode
/// allows another. `moved` says whether bytes may have moved before.
fn step_down(
    route: Route,
    method: Method,
    error: Error,
    mode: Mode,
    moved: impl FnOnce() -> bool,
) -> Result<Route> {
    let Some(next) = error.errno().and_then(|errno| route.step_down(method, errno)) else {
        return Err(error);
    };
    if mode == Mode::Direct {
        // Busy keeps its kind: it may be over soon. So does a failure after bytes have moved,
        // because NotDirect promises that none have.
        if error.kind() == ErrorKind::Busy || moved() {
            return Err(error);
        }
        return Err(Error::new(ErrorKind::NotDirect, error.to_string()));
    }
    log::debug!("{error}; going on by another method");
    Ok(next)
}

impl Role {
    /// The method for a segment of this role.
    fn method(self, route: Route) -> Method {
        match self {
            Self::Body => route.direct.unwrap_or(route.copy),
            Self::Edge | Self::Copied => route.copy,
        }
    }
}

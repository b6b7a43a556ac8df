//! One transfer: many extents between one buffer and one file.
//!
//! [`transfer`] makes all possible checks, then moves the extents, then makes a save durable. It
//! steps down from a method only if the kernel says that the method is not possible for this buffer
//! or this file. The receipt gives the reason.

mod ahead;
mod attempt;
mod durable;
mod job;
mod mapped;
mod mover;
pub mod piece;
pub mod plan;
pub mod receipt;
mod request;
mod rw_file;
mod together;
pub mod turns;
pub mod watch;

pub use request::{Durability, Request};

use crate::error::{Error, ErrorKind, Result};
use crate::extent::{check_placement, check_shape, Direction};
use crate::route::Route;
use crate::support;
use durable::make_durable;
use mover::Mover;
use plan::Plan;
use receipt::Receipt;
use std::time::Instant;
use turns::{Timed, Turns, Unlimited};

/// Moves data and returns the receipt. Blocks until the last byte has moved.
///
/// # Errors
/// Every [`ErrorKind`]. `InvalidRequest`, `BadDescriptor`, `Unsupported` and `NotDirect` mean that
/// no byte has moved. After every other error the destination within the extents is undefined.
pub fn transfer(request: &Request<'_>) -> Result<Receipt> {
    transfer_in_turns(request, &mut Unlimited)
}

/// As [`transfer`], and asks `turns` before every piece. If `turns` fails, the transfer ends with its
/// error. The transfer holds no turn while it makes a save durable, nor when it returns.
pub fn transfer_in_turns(request: &Request<'_>, turns: &mut dyn Turns) -> Result<Receipt> {
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
    let route = Route::choose(support::of(buffer, direction)?, file, mode)?;
    let plan = Plan::new(extents, file, direction, mode, route)?;

    let start = Instant::now();
    let mut turns = Timed::new(turns);
    let moved = Mover::new(request, route).run(&plan, &mut turns);
    let mut receipt = moved.inspect_err(|_| {
        // Gives back the turn in which it failed. The transfer has ended whatever this says.
        let _ = turns.next(0, 0);
    })?;
    receipt.queue = turns.waited;
    receipt.io = start.elapsed().saturating_sub(receipt.sync + receipt.queue);

    receipt.sync += make_durable(request)?;
    Ok(receipt)
}

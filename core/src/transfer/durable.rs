//! Makes a save durable.

use super::request::{Durability, Request};
use crate::error::{During, Error, Result};
use crate::trace;
use rustix::fs::{fallocate, fdatasync, fsync, FallocateFlags};
use rustix::io::retry_on_intr;
use std::time::{Duration, Instant};

/// Waits until the saved data is on stable storage, and returns the duration.
pub(super) fn make_durable(request: &Request<'_>) -> Result<Duration> {
    let Request { file, extents, durability, .. } = *request;
    let took = write_back(request)?;
    if durability == Durability::None || !file.may_sync_early()? {
        return Ok(took);
    }
    let start = Instant::now();
    let _span = trace::span("sync");
    // A save of nothing makes what others have saved durable.
    let saved = extents.iter().rfind(|extent| extent.len > 0);
    let end = saved.map_or_else(|| file.current_size(), |it| Ok(it.file_offset + it.len))?;
    if end > 0 {
        // Its only effect is that the next sync writes the file's node again. That sync waits for the
        // node before, and then has a flush. futimens(2) would need more than an open file.
        retry_on_intr(|| fallocate(file.fd(), FallocateFlags::KEEP_SIZE, end - 1, 1))
            .during(|| "file: fallocate")
            .map_err(Error::of_io)?;
    }
    fsync(file.fd()).during(|| "file: fsync").map_err(Error::of_io)?;
    Ok(took + start.elapsed())
}

/// Writes the saved data to the device, as far as one sync does, and returns the duration.
pub(super) fn write_back(request: &Request<'_>) -> Result<Duration> {
    let Request { file, durability, .. } = *request;
    let start = Instant::now();
    let _span = (durability != Durability::None).then(|| trace::span("sync"));
    let synced = match durability {
        Durability::None => return Ok(Duration::ZERO),
        Durability::Data => fdatasync(file.fd()).during(|| "file: fdatasync"),
        Durability::Full => fsync(file.fd()).during(|| "file: fsync"),
    };
    synced.map_err(Error::of_io)?;
    Ok(start.elapsed())
}

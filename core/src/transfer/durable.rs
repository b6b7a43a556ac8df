//! Makes a save durable.

use super::request::{Durability, Request};
use crate::error::{During, Error, Result};
use crate::trace;
use rustix::fs::{fdatasync, fsync};
use std::time::{Duration, Instant};

/// Waits until the saved data is on stable storage, and returns the duration.
pub(super) fn make_durable(request: &Request<'_>) -> Result<Duration> {
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

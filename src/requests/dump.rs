//! The text of `dumpsys`. Waits for short locks only, and names no file.

use crate::state::State;
use crate::statistics::Totals;
use dmabufio_core::pool::{Class, Pool, ShelfStock};
use dmabufio_wire::INSTANCE;
use std::fmt::{self, Write};

/// The state of the service for people.
pub(crate) fn text(state: &State) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, state);
    text
}

fn write(out: &mut String, state: &State) -> fmt::Result {
    let State { heap, pool, support, admission, scheduler, statistics, .. } = state;
    writeln!(out, "{INSTANCE} {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "heap: {}", heap.heap())?;
    for (i, method) in support.methods().enumerate() {
        writeln!(out, "method {}: {method}", i + 1)?;
    }
    if let Err(reason) = support.rw_file {
        writeln!(out, "no rw_file: {reason}")?;
    }
    let counts = admission.counts();
    writeln!(out, "requests running: {}", counts.waiting)?;
    writeln!(out, "  on file systems that may stall: {}", counts.stalling_waiting)?;
    let (queued, moving) = scheduler.counts();
    writeln!(out, "  that wait for a turn at the disk: {queued}")?;
    writeln!(out, "  that have one: {moving}")?;
    writeln!(out, "requests given up that have not ended: {}", counts.abandoned)?;
    writeln!(out, "  on file systems that may stall: {}", counts.stalling_abandoned)?;
    writeln!(out, "batches: {}", counts.batches)?;
    writeln!(out, "streams: {}", counts.streams)?;
    if let Some(stock) = pool.as_ref().map(Pool::stock) {
        for ShelfStock { class: Class { size, count }, ready, hits, misses } in stock.shelves {
            writeln!(out, "pool of {size} bytes: {ready} of {count} ready")?;
            writeln!(out, "  hits: {hits}, misses: {misses}")?;
        }
        writeln!(out, "pool emptied because memory was short: {}", stock.trims)?;
    }
    let Totals { transfers, direct, bounced, buffered, errors, last_errors } = statistics.totals();
    writeln!(out, "transfers: {transfers}")?;
    writeln!(out, "bytes direct: {direct}")?;
    writeln!(out, "bytes bounced: {bounced}")?;
    writeln!(out, "bytes buffered: {buffered}")?;
    writeln!(out, "errors: {errors}")?;
    last_errors.iter().try_for_each(|error| writeln!(out, "  {error}"))
}

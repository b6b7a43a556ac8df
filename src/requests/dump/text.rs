//! A dump for people.

use super::report::{Latency, Report, User};
use crate::in_flight::{Flight, Phase};
use dmabufio_core::pool::{Class, ShelfStock};
use dmabufio_wire::INSTANCE;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{INSTANCE} {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "up: {}", time(self.uptime))?;
        writeln!(f, "heap: {}", self.heap)?;
        for (i, method) in self.support.methods().enumerate() {
            writeln!(f, "method {}: {method}", i + 1)?;
        }
        if let Err(reason) = self.support.rw_file {
            writeln!(f, "no rw_file: {reason}")?;
        } else {
            let extents = if self.support.rw_extents { "yes" } else { "no" };
            writeln!(f, "rw_extents, attached buffers: {extents}")?;
        }
        let late =
            if self.clears_late { "what is not loaded" } else { "all of it, before the load" };
        writeln!(f, "cleared for a load: {late}")?;
        let counts = self.counts;
        writeln!(f, "requests running: {}", counts.waiting)?;
        writeln!(f, "  on file systems that may stall: {}", counts.stalling_waiting)?;
        writeln!(f, "  that wait for a turn at the disk: {}", self.queued)?;
        writeln!(f, "  that have one: {}", self.moving)?;
        writeln!(f, "requests given up that have not ended: {}", counts.abandoned)?;
        writeln!(f, "  on file systems that may stall: {}", counts.stalling_abandoned)?;
        writeln!(f, "batches: {}", counts.batches)?;
        writeln!(f, "streams: {}", counts.streams)?;
        self.in_flight.iter().try_for_each(|flight| write_flight(f, flight))?;
        self.users.iter().try_for_each(|user| write_user(f, user))?;
        if let Some(stock) = &self.stock {
            for ShelfStock { class: Class { size, count }, ready, hits, misses } in &stock.shelves {
                writeln!(f, "pool of {size} bytes: {ready} of {count} ready")?;
                writeln!(f, "  hits: {hits}, misses: {misses}")?;
            }
            writeln!(f, "pool emptied because memory was short: {}", stock.trims)?;
        }
        let totals = &self.totals;
        writeln!(f, "counted for: {}", time(totals.since.elapsed()))?;
        writeln!(f, "transfers: {}", totals.transfers)?;
        writeln!(f, "bytes direct: {}", totals.direct)?;
        writeln!(f, "bytes bounced: {}", totals.bounced)?;
        writeln!(f, "bytes buffered: {}", totals.buffered)?;
        self.latencies.iter().try_for_each(|latency| write_latency(f, latency))?;
        writeln!(f, "errors: {}", totals.errors)?;
        for failure in self.failures() {
            let (call, uid, message) = (failure.call, failure.uid, &failure.message);
            writeln!(f, "  {} ago: {call} uid={uid}: {message}", time(failure.at.elapsed()))?;
        }
        Ok(())
    }
}

fn write_flight(f: &mut Formatter<'_>, flight: &Flight) -> fmt::Result {
    let Flight { id, call, uid, arrival, priority, phase, moved, total, abandoned } = flight;
    write!(f, "request {id}: {call} uid={uid}")?;
    if let Some(priority) = priority {
        write!(f, " {}", priority.name())?;
    }
    let phase = match phase {
        Phase::Queued => "waits for a turn",
        Phase::Moving => "moves",
        Phase::Other => "checks, allocates, syncs or waits for its client",
    };
    let given_up = if *abandoned { ", given up" } else { "" };
    let age = time(arrival.elapsed());
    writeln!(f, ", {phase}{given_up}, {moved} of {total} bytes after {age}")
}

fn write_user(f: &mut Formatter<'_>, User { uid, charge, limits, bytes }: &User) -> fmt::Result {
    writeln!(
        f,
        "user {uid}: {} of {} buffers, {} of {bytes} bytes",
        charge.live.buffers, limits.buffers, charge.live.bytes
    )?;
    let promised = charge.promised;
    if promised.buffers > 0 {
        writeln!(f, "  about to come: {} buffers, {} bytes", promised.buffers, promised.bytes)?;
    }
    Ok(())
}

fn write_latency(f: &mut Formatter<'_>, latency: &Latency<'_>) -> fmt::Result {
    let Latency { priority, method, phase, times } = latency;
    let method = method.map_or_else(|| "nothing moved".to_owned(), |method| method.to_string());
    writeln!(
        f,
        "{} {method} {phase}: {} times, p50 {}, p90 {}, p99 {}, max {}",
        priority.name(),
        times.count(),
        time(times.percentile(50)),
        time(times.percentile(90)),
        time(times.percentile(99)),
        time(times.max())
    )
}

/// A time with as many digits as it takes.
fn time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

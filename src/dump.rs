//! What `dumpsys` shows. Never waits for I/O, and names no file.

use crate::{DmabufIo, State};
use binder_shim::Dump;
use dmabufio_core::pool::{Class, Pool, ShelfStock};
use dmabufio_wire::INSTANCE;
use std::io::{self, Write};

impl Dump for DmabufIo {
    fn dump_text(&self, writer: &mut dyn Write, _args: &[String]) -> io::Result<()> {
        let State { heap, pool, support, gate, lane, statistics, .. } = &*self.state;
        writeln!(writer, "{INSTANCE} {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(writer, "heap: {}", heap.heap())?;
        for (i, method) in support.methods().enumerate() {
            writeln!(writer, "method {}: {method}", i + 1)?;
        }
        if let Some(reason) = support.no_rw_file {
            writeln!(writer, "no rw_file: {reason}")?;
        }
        writeln!(writer, "requests running: {}", gate.running())?;
        let (waiting, threads) = lane.occupancy();
        writeln!(writer, "  on file systems that may stall: {waiting}, threads there: {threads}")?;
        if let Some(stock) = pool.as_ref().map(Pool::stock) {
            for ShelfStock { class: Class { size, count }, ready, hits, misses } in stock.shelves {
                writeln!(writer, "pool of {size} bytes: {ready} of {count} ready")?;
                writeln!(writer, "  hits: {hits}, misses: {misses}")?;
            }
            writeln!(writer, "pool emptied because memory was short: {}", stock.trims)?;
        }
        let totals = statistics.lock();
        writeln!(writer, "transfers: {}", totals.transfers)?;
        writeln!(writer, "bytes direct: {}", totals.direct)?;
        writeln!(writer, "bytes bounced: {}", totals.bounced)?;
        writeln!(writer, "bytes buffered: {}", totals.buffered)?;
        writeln!(writer, "errors: {}", totals.errors)?;
        for error in &totals.last_errors {
            writeln!(writer, "  {error}")?;
        }
        Ok(())
    }
}

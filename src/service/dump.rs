//! What `dumpsys` shows. Never waits for I/O, and names no file.

use super::{DmabufIo, State, INSTANCE};
use binder_shim::Dump;
use std::io::{self, Write};

impl Dump for DmabufIo {
    fn dump_text(&self, writer: &mut dyn Write, _args: &[String]) -> io::Result<()> {
        let State { heap, support, gate, lane, statistics } = &*self.state;
        writeln!(writer, "{INSTANCE} {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(writer, "heap: {}", heap.heap())?;
        for (i, method) in support.methods().enumerate() {
            writeln!(writer, "method {}: {method}", i + 1)?;
        }
        if let Some(reason) = support.no_rw_file {
            writeln!(writer, "no rw_file: {reason}")?;
        }
        writeln!(writer, "requests running: {}", gate.running())?;
        writeln!(writer, "  on file systems that may stall: {}", lane.running())?;
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

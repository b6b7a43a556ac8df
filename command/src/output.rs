//! Prints results: text for people, or one JSON object for programs.

use crate::name::without_controls;
use crate::progress::Progress;
use crate::size;
use anyhow::{Context, Error, Result};
use dmabufio_core::transfer::receipt::Receipt;
use serde::Serialize;
use serde_json::json;
use std::io::{stderr, stdout, ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// The form of the output.
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: `object` for programs, or the output of `text` for people.
    ///
    /// # Errors
    /// An [`std::io::Error`] if standard output did not take all of it.
    pub fn result(
        &self,
        object: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        let printed = if self.json {
            object_line(object)?
        } else {
            let mut lines = Vec::new();
            text(&mut lines)?;
            without_controls(&String::from_utf8_lossy(&lines))
        };
        print(&printed).context("write to standard output")
    }

    /// Prints the error of the command, with its causes.
    pub fn failure(&self, error: &Error) {
        let closed = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(closed) {
            // The reader of the output, `head` for example, has seen enough.
            return;
        }
        let message = format!("{error:#}");
        if self.json {
            let object = object_line(&json!({ "error": message }));
            if object.is_ok_and(|object| print(&object).is_ok()) {
                return;
            }
        }
        // If neither can be written, no place is left for a message.
        let _ = writeln!(stderr(), "dmabufio: {}", without_controls(&message));
    }

    /// The progress of `len` bytes, shown on a terminal only.
    pub fn progress(&self, len: u64, what: &str) -> Progress {
        Progress::new(!self.json && stderr().is_terminal(), len, what)
    }
}

/// `object` as JSON. Control characters are in strings only, so escapes can replace them.
fn object_line(object: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(object)?;
    let escape = |c: char| match c {
        '\n' => c.to_string(),
        _ if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    Ok(json.chars().map(escape).chain(["\n".to_owned()]).collect())
}

/// Writes and flushes standard output: an error at the end of the process would be lost.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A receipt for people and programs. Bytes and nanoseconds.
#[derive(Serialize)]
pub struct ReceiptReport {
    pub id: u64,
    pub bytes: u64,
    pub bytes_direct: u64,
    pub bytes_bounced: u64,
    pub bytes_buffered: u64,
    pub method: String,
    pub first_fallback: Option<String>,
    pub checked: bool,
    pub queue_nanos: u128,
    pub io_nanos: u128,
    pub sync_nanos: u128,
}

impl ReceiptReport {
    pub fn new(receipt: &Receipt) -> Self {
        Self {
            id: receipt.id,
            bytes: receipt.bytes(),
            bytes_direct: receipt.direct,
            bytes_bounced: receipt.bounced,
            bytes_buffered: receipt.buffered,
            method: receipt.method.map_or_else(|| "none".to_owned(), |method| method.to_string()),
            first_fallback: receipt.first_fallback.map(|reason| reason.to_string()),
            checked: receipt.checked,
            queue_nanos: receipt.queue.as_nanos(),
            io_nanos: receipt.io.as_nanos(),
            sync_nanos: receipt.sync.as_nanos(),
        }
    }

    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.write_with(&size::rate(self.bytes, nanos(self.io_nanos)), out)
    }

    /// For a stream, whose frames overlap: the sum of their times gives no rate.
    pub fn write_of_frames(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.write_with("all frames added", out)
    }

    fn write_with(&self, rate: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let io = size::time(nanos(self.io_nanos));
        writeln!(out, "  I/O        {io:>10}  {rate}, {}", self.method)?;
        let checked = if self.checked { "  checked against the page cache" } else { "" };
        writeln!(out, "  direct     {:>10}{checked}", size::bytes(self.bytes_direct))?;
        writeln!(out, "  bounced    {:>10}", size::bytes(self.bytes_bounced))?;
        writeln!(out, "  buffered   {:>10}", size::bytes(self.bytes_buffered))?;
        if self.sync_nanos > 1000 {
            writeln!(out, "  sync       {:>10}", size::time(nanos(self.sync_nanos)))?;
        }
        if let Some(reason) = &self.first_fallback {
            writeln!(out, "  fallback   {reason}")?;
        }
        Ok(())
    }
}

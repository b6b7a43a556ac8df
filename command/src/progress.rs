//! Shows the progress of a long transfer as one line on a terminal, which it overwrites.

use crate::size;
use std::io::{stderr, Write};
use std::time::{Duration, Instant};

/// The time between two versions of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// Goes to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Counts bytes. A drop clears the line.
pub struct Progress {
    shown: bool,
    what: String,
    len: u64,
    done: u64,
    start: Instant,
    last: Option<Instant>,
}

impl Progress {
    /// Of `len` bytes; on standard error if `shown`.
    pub fn new(shown: bool, len: u64, what: &str) -> Self {
        Self { shown, what: what.to_owned(), len, done: 0, start: Instant::now(), last: None }
    }

    /// Starts a phase `what` with `len` more bytes.
    pub fn extend(&mut self, len: u64, what: String) {
        self.len += len;
        self.what = what;
    }

    /// `bytes` more are done.
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.shown && self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.last = Some(Instant::now());
            self.write(&self.line(self.start.elapsed()));
        }
    }

    fn line(&self, time: Duration) -> String {
        let Self { what, len, done, .. } = self;
        let rate = size::rate(*done, time);
        format!("{what}: {} of {}, {rate}", size::bytes(*done), size::bytes(*len))
    }

    fn write(&self, line: &str) {
        // A failure here does no harm.
        let _ = write!(stderr(), "{CLEAR}{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            self.write("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_what_is_done_of_how_much_and_how_fast() {
        let mut progress = Progress::new(false, 1 << 20, "loading");
        progress.extend(3 << 20, "saving".to_owned());
        progress.add(1 << 20);
        progress.add(1 << 20);
        let line = progress.line(Duration::from_secs(2));
        assert_eq!(line, "saving: 2.0 MiB of 4.0 MiB, 1.0 MB/s");
    }

    #[test]
    fn nothing_is_written_unless_shown() {
        let mut progress = Progress::new(false, 10, "loading");
        progress.add(10);
        assert!(progress.last.is_none());
    }
}

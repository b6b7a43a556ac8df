//! Events for the kernel's trace in the format of atrace, which Perfetto shows.
//!
//! A process has none until [`start`] has opened `trace_marker`. The kernel refuses a write to it
//! while nobody traces. Then an event costs one look at the clock, and one of them in 100 ms a
//! write.

use std::cell::Cell;
use std::fmt::Arguments;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const MARKER_FILE: &str = "/sys/kernel/tracing/trace_marker";

/// The time between two attempts to write while nobody traces.
const PAUSE: Duration = Duration::from_millis(100);

static MARKER: OnceLock<Marker> = OnceLock::new();

/// The sum of all [`BytesInFlight`].
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static REQUEST: Cell<u64> = const { Cell::new(0) };
}

/// Opens the kernel's `trace_marker`, for all threads of this process.
///
/// # Errors
/// If the kernel has none, or if this process may not write to it.
pub fn start() -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(MARKER_FILE)?;
    MARKER.get_or_init(|| Marker::new(file));
    Ok(())
}

/// From now on, this thread works for the request with this number.
pub fn set_request(id: u64) {
    REQUEST.set(id);
}

/// The number of the request that this thread works for; 0 if there is none.
pub fn request() -> u64 {
    REQUEST.get()
}

/// Marks what this thread does until the result is dropped, with the number of its request.
#[must_use = "dropping it ends the span"]
pub fn span(name: &'static str) -> Span {
    Span(MARKER.get().filter(|marker| marker.begin(name, request())))
}

/// See [`span`]. `None` if nobody traced at the beginning.
#[derive(Debug)]
pub struct Span(Option<&'static Marker>);

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(marker) = self.0 {
            marker.end();
        }
    }
}

/// The bytes that a request moves now, a part of the counter of this process. A drop takes them out.
#[derive(Debug, Default)]
pub struct BytesInFlight(u64);

impl BytesInFlight {
    /// From now on, `bytes` are in flight. Writes an event only if they were others before.
    pub fn set(&mut self, bytes: u64) {
        let before = mem::replace(&mut self.0, bytes);
        if bytes == before {
            return;
        }
        // It wraps, and so it subtracts as well.
        IN_FLIGHT.fetch_add(bytes.wrapping_sub(before), Ordering::SeqCst);
        let Some(marker) = MARKER.get() else { return };
        // Another thread may count after this one and write before it. The last event must be right.
        let mut sum = IN_FLIGHT.load(Ordering::SeqCst);
        while marker.count(sum) {
            let written = mem::replace(&mut sum, IN_FLIGHT.load(Ordering::SeqCst));
            if written == sum {
                break;
            }
        }
    }
}

impl Drop for BytesInFlight {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[derive(Debug)]
struct Marker {
    file: File,
    pid: u32,
    start: Instant,
    /// Milliseconds from `start` to the next attempt.
    next: AtomicU64,
}

impl Marker {
    fn new(file: File) -> Self {
        Self { file, pid: process::id(), start: Instant::now(), next: AtomicU64::new(0) }
    }

    fn begin(&self, name: &str, id: u64) -> bool {
        self.write(format_args!("B|{}|{name} {id}", self.pid))
    }

    fn end(&self) -> bool {
        self.write(format_args!("E|{}", self.pid))
    }

    fn count(&self, bytes: u64) -> bool {
        self.write(format_args!("C|{}|dmabufio bytes in flight|{bytes}", self.pid))
    }

    /// Writes one event, and returns whether somebody traces.
    fn write(&self, event: Arguments<'_>) -> bool {
        let now = self.start.elapsed();
        if (now.as_millis() as u64) < self.next.load(Ordering::Relaxed) {
            return false;
        }
        // The kernel takes an event whole, or not at all.
        let written = (&self.file).write(event.to_string().as_bytes()).is_ok();
        if !written {
            self.next.store((now + PAUSE).as_millis() as u64, Ordering::Relaxed);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;
    use std::thread;

    /// A marker, and what reads its events.
    fn marker() -> (Marker, UnixDatagram) {
        let (writer, reader) = UnixDatagram::pair().expect("a pair of sockets");
        writer.set_nonblocking(true).expect("set_nonblocking");
        reader.set_nonblocking(true).expect("set_nonblocking");
        (Marker::new(File::from(OwnedFd::from(writer))), reader)
    }

    fn events(reader: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 100];
        let next = || reader.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec());
        let text = |event: Vec<u8>| String::from_utf8(event).expect("text");
        iter::from_fn(next).map(text).collect()
    }

    #[test]
    fn events_have_the_format_of_atrace() {
        let (marker, reader) = marker();
        assert!(marker.begin("io", 7) && marker.count(4096) && marker.end());
        let pid = process::id();
        let expected = [
            format!("B|{pid}|io 7"),
            format!("C|{pid}|dmabufio bytes in flight|4096"),
            format!("E|{pid}"),
        ];
        assert_eq!(events(&reader), expected);
    }

    #[test]
    fn refused_event_is_followed_by_a_pause() {
        let (marker, reader) = marker();
        // Until there is no more room.
        while marker.end() {}
        assert!(!events(&reader).is_empty());
        let next = marker.next.load(Ordering::Relaxed);
        assert!(next >= PAUSE.as_millis() as u64, "{next}");
        marker.next.store(u64::MAX, Ordering::Relaxed);
        assert!(!marker.end() && events(&reader).is_empty());
        marker.next.store(0, Ordering::Relaxed);
        assert!(marker.end() && events(&reader).len() == 1);
    }

    #[test]
    fn nothing_is_traced_before_the_start() {
        assert!(span("io").0.is_none());
    }

    #[test]
    fn request_is_that_of_the_thread() {
        let of_another = || {
            set_request(7);
            request()
        };
        assert_eq!(thread::spawn(of_another).join().expect("no panic"), 7);
        assert_eq!(request(), 0);
    }

    #[test]
    fn bytes_in_flight_are_the_sum_of_those_of_all_requests() {
        let sum = || IN_FLIGHT.load(Ordering::SeqCst);
        let (mut first, mut second) = (BytesInFlight::default(), BytesInFlight::default());
        first.set(10);
        second.set(5);
        first.set(3);
        assert_eq!(sum(), 8);
        drop(first);
        assert_eq!(sum(), 5);
        second.set(0);
        assert_eq!(sum(), 0);
    }
}

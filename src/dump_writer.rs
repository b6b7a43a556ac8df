//! Writes a dump to a descriptor of a client, which may read it late or never.
//!
//! The binder stacks write to the descriptor on the binder thread and show it as a [`Write`] only,
//! so that another thread has to end a write that takes too long.

use dmabufio_core::sys::interrupt::Interruptible;
use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The number of dumps at a time.
const MAX_DUMPS: usize = 4;

/// The longest time for one dump.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two attempts to end a write.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest write in bytes: a pipe takes it at once.
const CHUNK: usize = 4096;

/// Writes dumps, one of each user at a time.
#[derive(Debug, Default)]
pub(crate) struct DumpWriter {
    users: Mutex<HashSet<u32>>,
}

impl DumpWriter {
    /// Writes `text` for `uid`.
    ///
    /// # Errors
    /// `WouldBlock` while the service writes a dump of this user or too many dumps of all users;
    /// `TimedOut` if the reader is too slow and got only a part; else the error of the write.
    pub fn write(&self, uid: u32, writer: &mut dyn Write, text: &str) -> io::Result<()> {
        let mut users = self.lock();
        if users.len() >= MAX_DUMPS || !users.insert(uid) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "other dumps are being written"));
        }
        drop(users);
        let result = write_within(writer, text.as_bytes(), PATIENCE);
        self.lock().remove(&uid);
        result
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        // A panic ends the process.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_within(writer: &mut dyn Write, text: &[u8], patience: Duration) -> io::Result<()> {
    let this = Interruptible::this_thread()?;
    let deadline = Instant::now() + patience;
    thread::scope(|scope| {
        let (done, end) = channel::<()>();
        let watch = move || {
            let mut pause = patience;
            while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                // It fails for a thread that has ended, and this thread waits for us.
                let _ = this.interrupt();
                pause = PAUSE;
            }
        };
        thread::Builder::new().name("dump".to_owned()).spawn_scoped(scope, watch)?;
        let result = write_until(writer, text, deadline);
        drop(done);
        result
    })
}

fn write_until(writer: &mut dyn Write, mut text: &[u8], deadline: Instant) -> io::Result<()> {
    while !text.is_empty() {
        if Instant::now() >= deadline {
            return Err(io::Error::new(ErrorKind::TimedOut, "the reader is too slow"));
        }
        match writer.write(&text[..text.len().min(CHUNK)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => text = &text[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// More than a socket takes without a reader.
    const LEN: usize = 4 << 20;

    #[test]
    fn dump_that_nobody_reads_ends_at_the_deadline_with_a_part() {
        let (mut reader, mut writer) = UnixStream::pair().expect("a pair");
        let start = Instant::now();
        let text = vec![b'x'; LEN];
        let error = write_within(&mut writer, &text, Duration::from_millis(100));
        assert_eq!(error.expect_err("full").kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        drop(writer);
        let mut part = Vec::new();
        reader.read_to_end(&mut part).expect("read");
        assert!(!part.is_empty() && part.len() < LEN, "{}", part.len());
    }

    #[test]
    fn dump_to_a_slow_reader_is_complete() {
        let (mut reader, mut writer) = UnixStream::pair().expect("a pair");
        let text = vec![b'x'; LEN];
        let read = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        write_within(&mut writer, &text, Duration::from_secs(30)).expect("written");
        drop(writer);
        assert!(read.join().expect("no panic").expect("read") == text);
    }

    #[test]
    fn dumps_beyond_the_limit_are_refused_at_once() {
        let dumps = DumpWriter::default();
        for busy in [vec![7], vec![1, 2, 3, 4]] {
            *dumps.lock() = busy.iter().copied().collect();
            let error = dumps.write(7, &mut Vec::new(), "x").expect_err("too many");
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert_eq!(dumps.lock().len(), busy.len());
        }
        *dumps.lock() = HashSet::from([1, 2, 3]);
        dumps.write(7, &mut Vec::new(), "x").expect("room for one");
    }
}

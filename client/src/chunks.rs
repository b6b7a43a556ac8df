//! Reads headers of files without leaving anything in the page cache.

use crate::open::in_proc;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Bytes that are read at a time, from a multiple of it: more than any file system needs for direct
/// I/O, in memory as well.
const CHUNK: usize = 64 << 10;

/// Who opened a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// This process, so it can open the file once more.
    Here,
    /// Another one perhaps, whose policy may forbid that.
    Elsewhere,
}

/// A file, read chunk by chunk.
///
/// Reading through the page cache would leave the chunks there, and what the kernel reads ahead of
/// them. So a file that was opened here is opened once more, with `O_DIRECT`.
pub(crate) struct Chunks<'a> {
    file: &'a File,
    /// `None` if the file system cannot.
    direct: Option<File>,
    /// Has room for a chunk at a multiple of its size.
    memory: Vec<u8>,
    /// Where the chunk begins in the file.
    start: u64,
    /// How many bytes of it the file has.
    len: usize,
}

impl<'a> Chunks<'a> {
    pub fn new(file: &'a File, opened: Opened) -> Self {
        let flags = OFlags::DIRECT.bits() as i32;
        let direct = (opened == Opened::Here)
            .then(|| OpenOptions::new().read(true).custom_flags(flags).open(in_proc(file.as_fd())))
            .and_then(Result::ok);
        Self { file, direct, memory: Vec::new(), start: 0, len: 0 }
    }

    /// Fills `out` with the bytes from the offset `at`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, and the kernel's.
    pub fn read_exact_at(&mut self, mut out: &mut [u8], mut at: u64) -> Result<()> {
        while !out.is_empty() {
            if at < self.start || at - self.start >= self.len as u64 {
                self.load(at)?;
            }
            let within = (at - self.start) as usize;
            let ready = &aligned(&mut self.memory)[within..self.len];
            let len = ready.len().min(out.len());
            let (now, later) = out.split_at_mut(len);
            now.copy_from_slice(&ready[..len]);
            (out, at) = (later, at + len as u64);
        }
        Ok(())
    }

    /// Reads the chunk of `at`, up to that byte at least.
    fn load(&mut self, at: u64) -> Result<()> {
        self.memory.resize(2 * CHUNK, 0);
        let memory = aligned(&mut self.memory);
        (self.start, self.len) = (at - at % CHUNK as u64, 0);
        let wanted = (at - self.start) as usize;
        if let Some(direct) = &self.direct {
            match read(direct, memory, self.start) {
                // A part of a block is the end of the file, from which direct I/O cannot go on.
                Ok(len) if len > wanted => {
                    self.len = len;
                    return Ok(());
                }
                _ => self.direct = None,
            }
        }
        while self.len < memory.len() {
            match read(self.file, &mut memory[self.len..], self.start + self.len as u64) {
                Ok(0) if self.len <= wanted => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if self.len <= wanted => return Err(error),
                // What follows may never be needed.
                Ok(0) | Err(_) => break,
                Ok(more) => self.len += more,
            }
        }
        Ok(())
    }
}

/// The chunk in `memory`.
fn aligned(memory: &mut [u8]) -> &mut [u8] {
    let start = (memory.as_ptr() as usize).next_multiple_of(CHUNK) - memory.as_ptr() as usize;
    memory.get_mut(start..start + CHUNK).unwrap_or_default()
}

/// Reads once.
fn read(file: &File, memory: &mut [u8], at: u64) -> Result<usize> {
    loop {
        match file.read_at(memory, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::write;
    use tempfile::tempdir;

    #[test]
    fn chunks_are_those_of_the_file_whoever_opened_it() {
        let dir = tempdir().expect("a folder");
        let content: Vec<u8> = (0..150_000_u32).map(|i| (i / 7) as u8).collect();
        write(dir.path().join("file"), &content).expect("write");
        let file = File::open(dir.path().join("file")).expect("open");
        for opened in [Opened::Here, Opened::Elsewhere] {
            let mut chunks = Chunks::new(&file, opened);
            for (at, len) in [(0, 1), (1, 70_000), (65_535, 2), (149_999, 1), (7, 149_993)] {
                let mut bytes = vec![0; len];
                chunks.read_exact_at(&mut bytes, at as u64).expect("read");
                assert!(bytes == content[at..at + len], "{len} bytes at {at}");
            }
            for (at, len) in [(150_000, 1), (149_999, 2), (0, 150_001), (1 << 40, 1)] {
                let error = chunks.read_exact_at(&mut vec![0; len], at).expect_err("no bytes");
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{len} bytes at {at}");
            }
            chunks.read_exact_at(&mut [], 1 << 40).expect("nothing");
        }
    }
}

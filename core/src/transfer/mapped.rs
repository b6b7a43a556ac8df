//! Moves bytes with `pread(2)` and `pwrite(2)` on a CPU mapping of the buffer.
//!
//! This process never touches the mapping itself, so a missing page is `EFAULT` and not `SIGBUS`.
//! If the kernel cannot read the file into the mapping, or if the piece lacks the alignment, the
//! data goes through a bounce buffer, a memfd: the kernel reads the file into the pages of the
//! memfd, and then the memfd into the mapping.
//!
//! See docs/design/0001-first-slice.md#the-service-never-dereferences-a-mapping

use super::job::Job;
use super::piece::Piece;
use crate::error::{During, Error, ErrorKind, Result};
use crate::extent::Direction;
use crate::file::RegularFile;
use crate::sys::mmap::{Access, Mapping};
use crate::sys::sysconf;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::{self, Errno};

/// Size of the bounce buffer in bytes: it fits into the second-level cache of a phone's CPU, and is
/// a multiple of every alignment of direct I/O.
const BOUNCE: u64 = 256 << 10;

/// With a file opened with `O_DIRECT` and an aligned piece: the device moves the data.
pub(super) fn direct(job: Job<'_>) -> Result<u64> {
    run(job, |window| window.straight(job.file.fd(), false))
}

/// Works at any alignment, with any file.
///
/// Leaves a bounce buffer that it had to create in `bounce`, for the next piece.
pub(super) fn buffered(job: Job<'_>, bounce: &mut Option<Bounce>) -> Result<u64> {
    run(job, |window| {
        if job.file.is_o_direct() {
            return window.bounced(job.file, bounce);
        }
        let result = match window.straight(job.file.fd(), job.uncached) {
            // Old kernels (before Linux 6.14) and some file systems lack it. Against the cost of a
            // piece, a new attempt for each piece costs nothing.
            Err(error) if job.uncached && error.errno() == Some(Errno::OPNOTSUPP) => {
                window.straight(job.file.fd(), false)
            }
            result => result,
        };
        match result {
            // Some file systems (9p, FUSE with FOPEN_DIRECT_IO) pin the memory that they read into,
            // and the mapping of a system-heap buffer has no pages to pin.
            Err(error) if error.errno() == Some(Errno::FAULT) => window.bounced(job.file, bounce),
            result => result,
        }
    })
}

/// Brackets `action` on the mapped piece with CPU access, and returns its result.
fn run(job: Job<'_>, action: impl FnOnce(&Window<'_>) -> Result<u64>) -> Result<u64> {
    let Job { buffer, direction, piece, .. } = job;
    let (mapped, skip);
    let (mapping, skip) = match buffer.memory() {
        Some(memory) => (memory, piece.buffer_offset),
        None => {
            (mapped, skip) = map(job)?;
            (&mapped, skip)
        }
    };
    let skip = to_usize(skip)?;
    let cpu_access = buffer.begin_cpu_access(direction)?;
    let moved = action(&Window { mapping, skip, direction, piece })?;
    cpu_access.end()?;
    Ok(moved)
}

/// Maps the pages of the piece. Also returns the number of bytes before the piece in its first
/// page.
fn map(job: Job<'_>) -> Result<(Mapping, u64)> {
    let Job { buffer, direction, piece, .. } = job;
    let page_size = sysconf::page_size();
    let start = piece.buffer_offset / page_size * page_size;
    let skip = piece.buffer_offset - start;
    let len = to_usize(skip + piece.len)?;
    let access = match direction {
        Direction::Load => Access::ReadWrite,
        Direction::Save => Access::Read,
    };
    let mapping = Mapping::new(buffer.fd(), start, len, access).map_err(|errno| {
        let what = format!("buffer: mmap offset={start} length={len}");
        match errno {
            // The range is valid, so the exporter has no mmap.
            Errno::INVAL | Errno::NODEV => {
                Error::new(ErrorKind::Unsupported, format!("{what}: {errno}"))
            }
            errno => Error::from_errno(what, errno),
        }
    })?;
    Ok((mapping, skip))
}

/// A mapped piece.
struct Window<'a> {
    mapping: &'a Mapping,
    /// Bytes of the mapping before the piece, which starts anywhere in a page.
    skip: usize,
    direction: Direction,
    piece: Piece,
}

impl Window<'_> {
    /// Moves data straight between the file and the mapping.
    fn straight(&self, file: BorrowedFd<'_>, uncached: bool) -> Result<u64> {
        let mut done = 0;
        while done < self.piece.len {
            let at = self.skip + to_usize(done)?;
            let len = to_usize(self.piece.len - done)?;
            let offset = self.piece.file_offset + done;
            let moved = match self.direction {
                Direction::Load if uncached => self.mapping.fill_uncached(at, len, file, offset),
                Direction::Load => self.mapping.fill(at, len, file, offset),
                Direction::Save => self.mapping.drain(at, len, file, offset),
            };
            match self.count(moved, offset, len)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Moves data through a bounce buffer. Reads of the file start and end at pages of the bounce
    /// buffer, as `O_DIRECT` needs it. Writes are as long as the piece, whose alignment the plan
    /// has checked.
    fn bounced(&self, file: &RegularFile<'_>, bounce: &mut Option<Bounce>) -> Result<u64> {
        let mut done = 0;
        let bounce = match bounce {
            Some(bounce) => &*bounce,
            None => {
                bounce.insert(Bounce::new().during(|| format!("bounce buffer of {BOUNCE} bytes"))?)
            }
        };
        let align = file.direct_align().unwrap_or(0).max(sysconf::page_size());
        while done < self.piece.len {
            let offset = self.piece.file_offset + done;
            let at = self.skip + to_usize(done)?;
            let left = self.piece.len - done;
            let moved = match self.direction {
                Direction::Load => {
                    let start = offset / align * align;
                    let ahead = offset - start;
                    let want = (ahead + left).next_multiple_of(align).min(BOUNCE);
                    let read = bounce.pages.fill(0, to_usize(want)?, file.fd(), start);
                    let read = self.count(read, start, to_usize(want)?)?;
                    let len = read.saturating_sub(ahead).min(left);
                    self.copy(bounce, at, ahead, len)?
                }
                Direction::Save => {
                    let len = left.min(BOUNCE);
                    self.copy(bounce, at, 0, len)?;
                    let written = bounce.pages.drain(0, to_usize(len)?, file.fd(), offset);
                    self.count(written, offset, to_usize(len)?)?
                }
            };
            match moved {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Copies `len` bytes between the mapping at `at` and the bounce buffer at `from`.
    fn copy(&self, bounce: &Bounce, at: usize, from: u64, len: u64) -> Result<u64> {
        let mut done = 0;
        while done < len {
            let at = at + to_usize(done)?;
            let left = to_usize(len - done)?;
            let moved = match self.direction {
                Direction::Load => self.mapping.fill(at, left, bounce.memfd.as_fd(), from + done),
                Direction::Save => self.mapping.drain(at, left, bounce.memfd.as_fd(), from + done),
            };
            match moved {
                Err(Errno::INTR) => {}
                result => done += result.during(|| "copy to or from the bounce buffer")? as u64,
            }
        }
        Ok(done)
    }

    /// The result of one read or write of the file. Zero is the end of the file for a load, and a
    /// failure for a save.
    fn count(&self, result: io::Result<usize>, offset: u64, len: usize) -> Result<u64> {
        let call = match self.direction {
            Direction::Load => "pread",
            Direction::Save => "pwrite",
        };
        let what = || format!("{call}: file_offset={offset} length={len}");
        let moved = result.during(what)?;
        if moved == 0 && self.direction == Direction::Save {
            return Err(Error::new(ErrorKind::Io, format!("{}: nothing was written", what())));
        }
        Ok(moved as u64)
    }
}

/// Memory that both direct I/O and a copy by the kernel can use.
#[derive(Debug)]
pub(super) struct Bounce {
    memfd: OwnedFd,
    pages: Mapping,
}

impl Bounce {
    fn new() -> io::Result<Self> {
        let memfd = memfd_create("dmabufio-bounce", MemfdFlags::CLOEXEC)?;
        ftruncate(&memfd, BOUNCE)?;
        let pages = Mapping::new(memfd.as_fd(), 0, BOUNCE as usize, Access::ReadWrite)?;
        Ok(Self { memfd, pages })
    }

    /// The identity of the memfd.
    #[cfg(test)]
    pub fn inode(&self) -> u64 {
        rustix::fs::fstat(&self.memfd).expect("fstat").st_ino
    }
}

/// Pieces are at most [`super::piece::MAX_PIECE`] bytes; so the conversion cannot fail.
fn to_usize(bytes: u64) -> Result<usize> {
    usize::try_from(bytes)
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, format!("length={bytes}: too large")))
}

//! Moves one piece by one method, and looks at the page cache before and after. Each method has its
//! own file; only this module handles `EINTR`.

use super::job::Job;
use super::mapped::{self, Bounce};
use super::piece::Piece;
use super::request::Request;
use super::rw_file;
use super::watch::{absent, Watch};
use crate::error::{Error, Result};
use crate::extent::Direction;
use crate::method::Method;
use crate::route::Route;
use rustix::io::Errno;

/// The result of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub method: Method,
    /// The number of bytes, fewer than requested only at the end of the file.
    pub len: u64,
    /// Whether the file system moved the piece through the page cache instead of by direct I/O;
    /// `None` if the page cache proves neither.
    pub found_buffered: Option<bool>,
}

/// Moves pieces of a request, one after the other. Each thread has its own.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    request: &'a Request<'a>,
    /// For all pieces that need it. The first of them creates it.
    bounce: Option<Bounce>,
}

impl<'a> Worker<'a> {
    pub fn new(request: &'a Request<'a>) -> Self {
        Self { request, bounce: None }
    }

    /// Moves one piece by `method`.
    pub fn attempt(&mut self, route: Route, method: Method, piece: Piece) -> Result<Moved> {
        let Request { buffer, file, direction, .. } = *self.request;
        let load = direction == Direction::Load;
        let watch = match load && method.is_direct() {
            true => Watch::start(file, vec![piece.in_file()]),
            false => None,
        };
        let absent = match load && !method.is_direct() && route.uncached {
            true => absent(file, piece.in_file()),
            false => Vec::new(),
        };
        let Route { extents, uncached, .. } = route;
        let job = Job { buffer, file, direction, piece, extents, uncached };
        let len = self.run(method, job)?;
        absent.into_iter().for_each(|range| file.forget(range));
        // A short load adds fewer pages to the page cache, which would look like direct I/O.
        let watch = watch.filter(|_| len == piece.len);
        let found_buffered = watch.and_then(|watch| watch.was_buffered());
        Ok(Moved { method, len, found_buffered })
    }

    /// Moves a piece and returns the number of bytes: fewer only if a load met the end of the file.
    /// On failure any part of the destination may have changed.
    fn run(&mut self, method: Method, job: Job<'_>) -> Result<u64> {
        loop {
            let result = match method {
                Method::RwFileDirect => rw_file::direct(job),
                Method::RwFileBuffered => rw_file::buffered(job),
                Method::MappedDirect => mapped::direct(job),
                Method::MappedBuffered => mapped::buffered(job, &mut self.bounce),
            };
            match result {
                // The number of moved bytes is unknown, and to move them again does no harm.
                Err(error) if error.errno() == Some(Errno::INTR) => {}
                // A failure without an errno, as of a buffer without mmap, happens before any byte
                // moves.
                Err(error) if error.errno().is_none() => return Err(error),
                result => return result.map_err(Error::of_io),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::RegularFile;
    use crate::heap::{Allocator, Heap};
    use crate::method::Mode;
    use crate::transfer::request::Durability;
    use rustix::fs::{open, Mode as Permissions, OFlags};
    use std::env;
    use std::os::fd::AsFd;

    #[test]
    fn bounce_buffer_serves_all_pieces_of_a_worker() {
        // The test's own program: on the build's file system, which has direct I/O.
        let path = env::current_exe().expect("a path");
        let flags = OFlags::RDONLY | OFlags::DIRECT;
        let file = open(&path, flags, Permissions::empty()).expect("open with O_DIRECT");
        let buffer = Allocator::open(Heap::Memfd).and_then(|heap| heap.allocate(1 << 16));
        let buffer = buffer.expect("allocate");
        let route = Route {
            direct: None,
            copy: Method::MappedBuffered,
            align: 4096,
            reason: None,
            extents: false,
            uncached: false,
        };
        let request = Request {
            buffer: &buffer.buffer(),
            file: &RegularFile::new(file.as_fd(), Heap::Memfd).expect("a regular file"),
            extents: &[],
            direction: Direction::Load,
            mode: Mode::Auto,
            durability: Durability::None,
        };
        let mut worker = Worker::new(&request);
        let mut bounces = Vec::new();
        for i in 0..3 {
            let piece = Piece { file_offset: i * 5000 + 1, buffer_offset: i * 100, len: 100 };
            let moved = worker.attempt(route, Method::MappedBuffered, piece).expect("load");
            assert_eq!(moved.len, 100);
            bounces.push(worker.bounce.as_ref().map(Bounce::inode));
        }
        assert!(bounces[0].is_some() && bounces.iter().all(|one| *one == bounces[0]));
    }
}

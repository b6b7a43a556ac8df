//! CPU access to the memory of a buffer that this process may rely on to stay.

use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::Direction;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::sysconf::page_size;
use std::os::fd::BorrowedFd;

/// Bytes that [`read`] copies at a time, which stay in the CPU's cache.
const CHUNK: usize = 64 << 10;

/// Maps `len` bytes of a buffer from `offset`, and calls `action` with the mapping and their offset
/// in it, between the begin and the end of CPU access. No bytes are no access.
pub(crate) fn access(
    fd: BorrowedFd<'_>,
    heap: Heap,
    offset: u64,
    len: u64,
    direction: Direction,
    action: impl FnOnce(&mut Mapping, usize) -> rustix::io::Result<()>,
) -> Result<()> {
    if len == 0 {
        // There is no mapping of no bytes.
        return Ok(());
    }
    let buffer = Buffer::new(fd, heap)?;
    let what = || format!("buffer of {} bytes: offset={offset} length={len}", buffer.size());
    // Memory behind the end of a memfd can be mapped, and faults when it is touched.
    if offset.checked_add(len).is_none_or(|end| end > buffer.size()) {
        let what = format!("{}: beyond the end of the buffer", what());
        return Err(Error::new(ErrorKind::InvalidRequest, what));
    }
    let failed = |errno| Error::from_errno(what(), errno);
    let start = offset / page_size() * page_size();
    let skip = (offset - start) as usize;
    let rights = match direction {
        Direction::Load => Access::ReadWrite,
        Direction::Save => Access::Read,
    };
    let mut mapping = Mapping::new(fd, start, skip + len as usize, rights).map_err(failed)?;
    let cpu_access = buffer.begin_cpu_access(direction)?;
    action(&mut mapping, skip).map_err(failed)?;
    cpu_access.end()
}

/// Calls `visit` with the bytes of that range, a piece at a time.
pub(crate) fn read(
    fd: BorrowedFd<'_>,
    heap: Heap,
    offset: u64,
    len: u64,
    mut visit: impl FnMut(&[u8]),
) -> Result<()> {
    access(fd, heap, offset, len, Direction::Save, |mapping, at| {
        let len = len as usize;
        let mut chunk = vec![0; CHUNK.min(len)];
        for done in (0..len).step_by(CHUNK) {
            let piece = &mut chunk[..CHUNK.min(len - done)];
            mapping.read(at + done, piece)?;
            visit(piece);
        }
        Ok(())
    })
}

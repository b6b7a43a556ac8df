//! Writes and reads the file of a snapshot.

use super::error::{Fault, Problem, SnapshotError};
use super::header::{padded, Header, PAYLOAD_OFFSET};
use super::picture::Picture;
use crate::buffer::Buffer;
use crate::chunks::{Chunks, Opened};
use crate::client::Client;
use crate::crc32c::Crc32c;
use crate::digest::{Algorithm, Digest, Digester};
use crate::error::errno;
use crate::mapped;
use crate::replace::Replacement;
use crate::request::Transfer;
use dmabufio_core::buffer::Buffer as CoreBuffer;
use dmabufio_core::error::{During, Error as CoreError, ErrorKind, Result as CoreResult};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::heap::Heap;
use dmabufio_core::transfer::receipt::Receipt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

/// The purpose of buffers and requests in statistics and logs.
pub(super) const TAG: &str = "snapshot";

/// Bytes that are loaded at a time.
const STEP: u64 = 4 << 20;

/// A picture to save.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// What it is.
    pub picture: Picture,
    /// The buffer with the pixels, from any allocator. This process maps it, so it must keep its
    /// pages for as long as the call takes.
    pub buffer: BorrowedFd<'a>,
    /// Where they begin in the buffer, in bytes. At a multiple of the page they go direct.
    pub offset: u64,
}

impl Pixels<'_> {
    /// The bytes of the file that they make, in a process whose buffers come from `heap`.
    ///
    /// # Errors
    /// [`SnapshotError::Picture`] if there cannot be such a picture; `InvalidRequest` if the buffer ends
    /// before the pixels do.
    pub(super) fn file_len(&self, heap: Heap) -> Result<u64, SnapshotError> {
        if let Some((field, problem)) = self.picture.problem() {
            return Err(SnapshotError::Picture { field, problem });
        }
        let (len, offset) = (self.picture.payload_len(), self.offset);
        let size = CoreBuffer::new(self.buffer, heap)?.size();
        let in_file = padded(len).and_then(|len| len.checked_add(PAYLOAD_OFFSET));
        let in_file = in_file.filter(|_| offset.checked_add(len).is_some_and(|end| end <= size));
        in_file.ok_or_else(|| {
            let what = format!("buffer of {size} bytes: has no {len} bytes from offset {offset}");
            CoreError::new(ErrorKind::InvalidRequest, what).into()
        })
    }
}

/// A picture in a new buffer.
#[derive(Debug)]
pub struct Snapshot {
    /// What it is.
    pub picture: Picture,
    /// The buffer. The pixels begin at its start.
    pub buffer: Buffer,
    /// The receipt for reading them.
    pub receipt: Receipt,
}

/// Writes a snapshot to a new file, all of it to stable storage, while another thread computes the
/// checksum. The file has no byte of the buffer but the pixels.
pub(super) fn write(
    client: &Client,
    pixels: &Pixels<'_>,
    new: &Replacement,
) -> Result<Receipt, SnapshotError> {
    let Pixels { picture, buffer, offset } = *pixels;
    let heap = client.capabilities()?.heap;
    let (len, file_len) = (picture.payload_len(), pixels.file_len(heap)?);
    new.preallocate(file_len)?;
    let extents = [Extent { file_offset: PAYLOAD_OFFSET, buffer_offset: offset, len }];
    let transfer = Transfer {
        tag: TAG,
        ..Transfer::new(buffer, new.file().as_fd(), &extents, Direction::Save)
    };
    let padding = file_len - PAYLOAD_OFFSET - len;
    let (receipt, crc) = thread::scope(|scope| {
        let crc = scope.spawn(|| checksum(buffer, heap, offset, len, padding));
        let receipt = client.transfer(&transfer);
        (receipt, crc.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (receipt, payload_crc) = (receipt?, crc?);
    let header = Header { picture, payload_crc };
    let written = new.file().write_all_at(&header.to_bytes(), 0).map_err(errno);
    written.during(|| "write the header")?;
    new.file().sync_all().map_err(errno).during(|| "sync the snapshot")?;
    Ok(receipt)
}

/// Reads the header of the snapshot `file`, which errors call `name`.
pub(super) fn header(file: &File, name: &Path) -> Result<Header, SnapshotError> {
    let failed = |error: io::Error| SnapshotError::Read {
        file: name.to_owned(),
        field: "header",
        offset: 0,
        source: error,
    };
    let file_len = file.metadata().map_err(failed)?.len();
    let truncated = |available| {
        let problem = Problem::Truncated { needed: PAYLOAD_OFFSET, available };
        Fault { field: "header", offset: 0, problem }.within(name)
    };
    if file_len < PAYLOAD_OFFSET {
        return Err(truncated(file_len));
    }
    let mut bytes = [0; PAYLOAD_OFFSET as usize];
    match Chunks::new(file, Opened::Here).read_exact_at(&mut bytes, 0) {
        // It has become shorter.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(truncated(0)),
        read => read.map_err(failed)?,
    }
    Header::parse(&bytes, file_len).map_err(|fault| fault.within(name))
}

/// Loads a snapshot, and computes the checksum of each step while the next one is loaded.
pub(super) fn read(client: &Client, file: &File, name: &Path) -> Result<Snapshot, SnapshotError> {
    let Header { picture, payload_crc } = header(file, name)?;
    let len = picture.payload_len();
    // The file has that many bytes.
    let padded = padded(len).unwrap_or(len);
    let buffer = client.allocate(padded, TAG)?;
    let fault = |problem| Fault { field: "payload", offset: PAYLOAD_OFFSET, problem }.within(name);
    let digester = Digester::start(Algorithm::Crc32c)?;
    let mut receipt = Receipt::default();
    for at in (0..padded).step_by(STEP as usize) {
        let len = STEP.min(padded - at);
        let extents = [Extent { file_offset: PAYLOAD_OFFSET + at, buffer_offset: at, len }];
        let transfer = Transfer {
            tag: TAG,
            ..Transfer::new(buffer.as_fd(), file.as_fd(), &extents, Direction::Load)
        };
        receipt.add(&client.transfer(&transfer)?);
        if receipt.bytes() != at + len {
            // It has become shorter.
            return Err(fault(Problem::Truncated { needed: padded, available: receipt.bytes() }));
        }
        digester.add(&buffer, at, len)?;
    }
    match digester.finish()? {
        Digest::Crc32c(found) if found != payload_crc => {
            return Err(fault(Problem::Checksum { expected: payload_crc, found }));
        }
        _ => {}
    }
    Ok(Snapshot { picture, buffer, receipt })
}

/// The CRC-32C of bytes of a buffer and of `padding` zeros.
fn checksum(
    buffer: BorrowedFd<'_>,
    heap: Heap,
    offset: u64,
    len: u64,
    padding: u64,
) -> CoreResult<u32> {
    let mut crc = Crc32c::new();
    mapped::read(buffer, heap, offset, len, |bytes| crc.update(bytes))?;
    crc.update(&vec![0; padding as usize]);
    Ok(crc.finish())
}

//! Digests of what is in buffers, to compare with what the caller expects.
//!
//! The CPU reads the buffer for it, not the file: the digest is that of the bytes that were loaded. A
//! [`Digester`] works on a thread of its own, so that the next bytes are loaded meanwhile.
//!
//! ```no_run
//! use dmabufio_client::digest::{Algorithm, Digest, Digester};
//! use dmabufio_client::{Client, Load};
//! use dmabufio_core::extent::Extent;
//! use dmabufio_core::load::Item;
//! use std::os::fd::AsFd;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::service()?;
//! let file = std::fs::File::open("model.gguf")?;
//! let digester = Digester::start(Algorithm::Sha256)?;
//! for start in (0..file.metadata()?.len()).step_by(64 << 20) {
//!     let extent = Extent { file_offset: start, buffer_offset: 0, len: 64 << 20 };
//!     let items = [Item { size: extent.len, extents: vec![extent] }];
//!     for filled in client.load(&Load::new(file.as_fd(), &items))? {
//!         let filled = filled?;
//!         digester.add(&filled.buffer, 0, filled.receipt.bytes())?;
//!     }
//! }
//! let expected: Digest =
//!     "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
//! assert_eq!(digester.finish()?, expected);
//! # Ok(())
//! # }
//! ```

use crate::buffer::Buffer;
use crate::crc32c::Crc32c;
use crate::error::{errno, Error};
use crate::mapped;
use dmabufio_core::error::{During, Result as CoreResult};
use dmabufio_core::heap::Heap;
use ring::digest::{Context, SHA256};
use std::fmt::{self, Display, Formatter};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::str::FromStr;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread::{self, JoinHandle};

/// How to compute a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32C: finds damage.
    Crc32c,
    /// SHA-256: finds any other content.
    Sha256,
}

/// A digest. As text it is hexadecimal digits, as `sha256sum` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// Of [`Algorithm::Crc32c`]; the text is the number.
    Crc32c(u32),
    /// Of [`Algorithm::Sha256`].
    Sha256([u8; 32]),
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the 64 hexadecimal digits of a SHA-256, nor the 8 of a CRC-32C")]
pub struct NoDigest;

impl Digest {
    /// The digest of `len` bytes of `buffer` from `offset`.
    ///
    /// # Errors
    /// `InvalidRequest` if the buffer ends before them, and what the kernel reports.
    pub fn of(algorithm: Algorithm, buffer: &Buffer, offset: u64, len: u64) -> Result<Self, Error> {
        let mut state = State::new(algorithm);
        mapped::read(buffer.as_fd(), buffer.heap(), offset, len, |bytes| state.update(bytes))?;
        Ok(state.finish())
    }

    /// How it was computed.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Crc32c(_) => Algorithm::Crc32c,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc32c(crc) => write!(f, "{crc:08x}"),
            Self::Sha256(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoDigest);
        }
        match text.len() {
            8 => u32::from_str_radix(text, 16).map(Self::Crc32c).map_err(|_| NoDigest),
            64 => {
                let mut bytes = [0; 32];
                for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
                    *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NoDigest)?;
                }
                Ok(Self::Sha256(bytes))
            }
            _ => Err(NoDigest),
        }
    }
}

/// A digest that is not finished.
enum State {
    Crc32c(Crc32c),
    Sha256(Box<Context>),
}

impl State {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            Algorithm::Sha256 => Self::Sha256(Box::new(Context::new(&SHA256))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32c(crc) => crc.update(bytes),
            Self::Sha256(context) => context.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Crc32c(crc) => Digest::Crc32c(crc.finish()),
            Self::Sha256(context) => {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(context.finish().as_ref());
                Digest::Sha256(bytes)
            }
        }
    }
}

/// Bytes of a buffer.
struct Piece {
    buffer: OwnedFd,
    heap: Heap,
    offset: u64,
    len: u64,
}

/// Computes one digest of all bytes that are added, in this order, on a thread of its own.
#[derive(Debug)]
pub struct Digester {
    pieces: Sender<Piece>,
    thread: JoinHandle<CoreResult<Digest>>,
}

impl Digester {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn start(algorithm: Algorithm) -> Result<Self, Error> {
        let (pieces, arriving) = channel();
        let work = move || digest(algorithm, &arriving);
        let thread = thread::Builder::new().name("digest".to_owned()).spawn(work);
        Ok(Self { pieces, thread: thread.map_err(errno).during(|| "start a thread")? })
    }

    /// Adds `len` bytes of `buffer` from `offset`, and does not wait. They must stay as they are until
    /// [`Digester::finish`] returns; the buffer itself may be dropped.
    ///
    /// # Errors
    /// What the kernel reports if there can be no further descriptor of the buffer.
    pub fn add(&self, buffer: &Buffer, offset: u64, len: u64) -> Result<(), Error> {
        let heap = buffer.heap();
        let buffer = buffer.as_fd().try_clone_to_owned().map_err(errno);
        let buffer = buffer.during(|| "buffer: duplicate the descriptor")?;
        // A thread that has failed takes no more, and says why at the end.
        let _ = self.pieces.send(Piece { buffer, heap, offset, len });
        Ok(())
    }

    /// Waits for the digest.
    ///
    /// # Errors
    /// Those of [`Digest::of`].
    pub fn finish(self) -> Result<Digest, Error> {
        drop(self.pieces);
        Ok(self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))?)
    }
}

fn digest(algorithm: Algorithm, arriving: &Receiver<Piece>) -> CoreResult<Digest> {
    let mut state = State::new(algorithm);
    for Piece { buffer, heap, offset, len } in arriving {
        mapped::read(buffer.as_fd(), heap, offset, len, |bytes| state.update(bytes))?;
    }
    Ok(state.finish())
}

//! Streams: a file that the service reads ahead, or writes, through a ring of buffers.

use crate::buffer::Buffer;
use crate::connection::has_died;
use crate::convert::{buffer, passed, received};
use crate::error::{of_call, Error};
use binder_shim::{into_fd, Status, Strong};
use dmabufio_core::error::{During, Error as CoreError, ErrorKind};
use dmabufio_core::extent::Direction;
use dmabufio_core::method::Mode;
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::Durability;
use dmabufio_wire::{aidl, receipt_from_aidl, signed, unsigned, Wire};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::{read, Errno};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use aidl::IBufferStream::IBufferStream;
use aidl::IDmabufIo::{IDmabufIo, MAX_RING};

/// The buffers of a stream.
#[derive(Debug, Clone, Copy)]
pub enum Ring<'a> {
    /// So many that the service allocates, 1 to 32.
    Allocate(usize),
    /// The caller's own, of a camera or of gralloc for example, at most 32.
    Own(&'a [BorrowedFd<'a>]),
}

/// A stream to open. All offsets and lengths are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct StreamRequest<'a> {
    /// The file. A stream does not change its position or flags.
    pub file: BorrowedFd<'a>,
    /// [`Direction::Load`] reads the file ahead, [`Direction::Save`] writes frames to it.
    pub direction: Direction,
    /// Controls whether the stream bypasses the page cache.
    pub mode: Mode,
    /// Who waits for it: its share of the disk and the I/O priority.
    pub priority: Priority,
    /// The data that must be on stable storage when [`Stream::wait`] returns; for saves.
    pub durability: Durability,
    /// The place of the first frame in the file.
    pub offset: u64,
    /// The length of each frame that is read, or of the longest one that is written.
    pub frame_bytes: u64,
    /// The buffers.
    pub ring: Ring<'a>,
    /// The purpose of the buffers in the statistics of the kernel: printable ASCII.
    pub tag: &'a str,
}

impl<'a> StreamRequest<'a> {
    /// A stream from the start of the file by the best path, at normal priority, without a promise
    /// about durability, and without a name.
    pub fn new(
        file: BorrowedFd<'a>,
        direction: Direction,
        frame_bytes: u64,
        ring: Ring<'a>,
    ) -> Self {
        let (mode, priority, durability) = (Mode::Auto, Priority::Normal, Durability::None);
        let (offset, tag) = (0, "");
        Self { file, direction, mode, priority, durability, offset, frame_bytes, ring, tag }
    }
}

/// A part of the file that a [`Stream`] has read into a buffer of its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The buffer.
    pub index: usize,
    /// How many frames the stream has handed out before.
    pub number: u64,
    /// Its place in the file.
    pub file_offset: u64,
    /// Its place in the buffer, less than the alignment of direct I/O; see [`Stream`].
    pub buffer_offset: u64,
    /// Its length: that of the request, or less at the end of the file.
    pub len: u64,
    /// When it was complete: nanoseconds of `CLOCK_MONOTONIC`.
    pub ready_nanos: i64,
}

/// What [`Stream::next`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next frame. Its buffer belongs to the caller until [`Stream::release`].
    Frame(Frame),
    /// The end of the file.
    EndOfFile,
    /// Nothing until the deadline.
    TimedOut,
}

/// What [`Stream::acquire`] has for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// A buffer, which belongs to the caller until [`Stream::submit`] or [`Stream::release`].
    Buffer {
        /// The buffer.
        index: usize,
        /// The number of the frame: how many calls came before.
        frame: u64,
    },
    /// No buffer until the deadline: the disk is too slow, and the frame is lost.
    Dropped {
        /// The number of the frame.
        frame: u64,
    },
}

/// How far a [`Stream`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamProgress {
    /// Frames that have moved between the file and the ring.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The timestamp of the last frame that was written.
    pub timestamp_nanos: i64,
    /// Whether the stream has ended.
    pub ended: bool,
}

/// An open stream. Dropping it ends the stream.
///
/// To read, call [`Stream::next`] for a frame and [`Stream::release`] when it is no longer needed;
/// the service fills free buffers meanwhile. To write, call [`Stream::acquire`] when a frame is
/// due, fill the buffer, call [`Stream::submit`], and at the end [`Stream::finish`] and
/// [`Stream::wait`].
///
/// A frame goes direct if its places in the file and in the buffer are equal modulo the alignment
/// of direct I/O: the page size, or what the file needs if that is more. The service chooses the
/// place in the buffer of a frame that it reads. Frames whose length is a multiple of the alignment
/// always go direct from the start of a buffer if the first one begins at such a multiple.
///
/// The descriptor of the stream is for poll(2) and epoll(7), to wait beside other descriptors. It
/// is edge-triggered: after [`Stream::next`] or [`Stream::acquire`] found nothing at a deadline in
/// the past, it becomes readable as soon as the same call may succeed. It reports a hang-up once
/// the stream has ended.
///
/// The stream dies with the service: all functions then fail with [`Error::Died`]. The caller can
/// open it again where it stood.
pub struct Stream {
    stream: Strong<dyn IBufferStream>,
    readiness: OwnedFd,
    buffers: Vec<Buffer>,
    /// Frames that were due.
    due: u64,
    dropped: u64,
}

impl Stream {
    /// The buffers that the service has allocated, by index; none if the ring is the caller's own.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The next frame of a stream that reads. Waits for it until `deadline`, for ever without one.
    ///
    /// # Errors
    /// The error of the file that has ended the stream, after the frames before it.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Next, Error> {
        let Some(frame) = self.wait_for(deadline, || self.stream.next())? else {
            return Ok(Next::TimedOut);
        };
        let Ok(index) = usize::try_from(frame.index) else { return Ok(Next::EndOfFile) };
        Ok(Next::Frame(Frame {
            index,
            number: received(unsigned("number", frame.number))?,
            file_offset: received(unsigned("fileOffset", frame.fileOffset))?,
            buffer_offset: received(unsigned("bufferOffset", frame.bufferOffset))?,
            len: received(unsigned("length", frame.length))?,
            ready_nanos: frame.readyNanos,
        }))
    }

    /// Gives back a buffer of [`Stream::next`] or, unused, of [`Stream::acquire`].
    pub fn release(&self, index: usize) -> Result<(), Error> {
        self.stream.release(sent(index)).map_err(|status| self.error(&status))
    }

    /// Lets a stream that reads go on at another place of the file, with the next frame. The caller
    /// keeps the buffers that it has.
    pub fn seek(&self, offset: u64) -> Result<(), Error> {
        self.stream.seek(signed("offset", offset)?).map_err(|status| self.error(&status))
    }

    /// A buffer for the frame that is due now, of a stream that writes. Waits for it until
    /// `deadline`, for ever without one. Call it once for each frame, so that the numbers are
    /// right.
    ///
    /// # Errors
    /// The error of the file that has ended the stream.
    pub fn acquire(&mut self, deadline: Option<Instant>) -> Result<Acquired, Error> {
        let index = self.wait_for(deadline, || self.stream.acquire())?;
        let frame = self.due;
        self.due += 1;
        match index {
            Some(index) => {
                let index = received(unsigned("index", index.into()))? as usize;
                Ok(Acquired::Buffer { index, frame })
            }
            None => {
                self.dropped += 1;
                Ok(Acquired::Dropped { frame })
            }
        }
    }

    /// How many frames [`Stream::acquire`] has dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Passes `len` bytes of a buffer of [`Stream::acquire`] from byte `buffer_offset` on to the
    /// service, which writes them behind the frame before. [`Stream::progress`] returns the
    /// timestamp of the last frame that the file has.
    pub fn submit(
        &self,
        index: usize,
        buffer_offset: u64,
        len: u64,
        timestamp_nanos: i64,
    ) -> Result<(), Error> {
        let (offset, len) = (signed("buffer_offset", buffer_offset)?, signed("len", len)?);
        let submitted = self.stream.submit(sent(index), offset, len, timestamp_nanos);
        submitted.map_err(|status| self.error(&status))
    }

    /// Asks the service to end the stream: one that writes after all frames that were submitted,
    /// one that reads now. [`Stream::wait`] waits for the end.
    pub fn finish(&self) -> Result<(), Error> {
        self.stream.finish().map_err(|status| self.error(&status))
    }

    /// Waits until a stream has ended after [`Stream::finish`] or an error, and returns the
    /// receipts of all frames, added. What was written is durable then as the request says.
    pub fn wait(self) -> Result<Receipt, Error> {
        // For the hang-up only.
        self.poll(PollFlags::empty(), None)?;
        let receipt = self.stream.getResult().map_err(|status| self.error(&status))?;
        received(receipt_from_aidl(&receipt))
    }

    /// How far the stream is. Does not wait for I/O.
    pub fn progress(&self) -> Result<StreamProgress, Error> {
        let progress = self.stream.getProgress().map_err(|status| self.error(&status))?;
        Ok(StreamProgress {
            frames: received(unsigned("frames", progress.frames))?,
            bytes: received(unsigned("bytes", progress.bytes))?,
            timestamp_nanos: progress.timestampNanos,
            ended: progress.ended,
        })
    }

    /// The error of a failed call.
    fn error(&self, status: &Status) -> Error {
        match of_call(status, 0) {
            Error::Unreachable(_) if has_died(self.stream.as_binder()) => Error::Died(
                "the service died, and the stream with it; its file has the frames that were \
                 written until then; open the stream again where it stood"
                    .to_owned(),
            ),
            error => error,
        }
    }

    /// Repeats `call` while it is `Busy`, until `deadline`; then it is `None`.
    fn wait_for<T>(
        &self,
        deadline: Option<Instant>,
        call: impl Fn() -> Result<T, Status>,
    ) -> Result<Option<T>, Error> {
        loop {
            match call().map_err(|status| self.error(&status)) {
                Err(error) if error.kind() == Some(ErrorKind::Busy) => {}
                answer => return answer.map(Some),
            }
            if !self.poll(PollFlags::IN, deadline)? {
                return Ok(None);
            }
            self.empty()?;
        }
    }

    /// Waits for one of `events` or for the end of the stream. Says whether it came before
    /// `deadline`.
    fn poll(&self, events: PollFlags, deadline: Option<Instant>) -> Result<bool, Error> {
        let mut fds = [PollFd::new(&self.readiness, events)];
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            // Rounded up, so that the loop does not spin before the deadline.
            let timeout = left.map_or(-1, |left| {
                i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
            });
            match poll(&mut fds, timeout) {
                Err(Errno::INTR) => {}
                Ok(0) if timeout == i32::MAX => {}
                polled => return Ok(polled.during(|| "readiness: poll")? > 0),
            }
        }
    }

    /// Reads the readiness empty.
    fn empty(&self) -> Result<(), Error> {
        let mut bytes = [0; 64];
        loop {
            match read(&self.readiness, &mut bytes) {
                Ok(count) if count == bytes.len() => {}
                Ok(_) | Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(CoreError::from_errno("readiness: read", errno).into()),
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness.as_fd()
    }
}

/// Opens a stream of `service`.
pub(crate) fn open_stream(
    service: &Strong<dyn IDmabufIo>,
    request: &StreamRequest<'_>,
) -> Result<Stream, Error> {
    let (count, own) = match request.ring {
        Ring::Allocate(count) => (count, &[][..]),
        Ring::Own(buffers) => (0, buffers),
    };
    let own = own.iter().map(|fd| passed("buffer", *fd)).collect::<Result<Vec<_>, _>>()?;
    let request = aidl::StreamRequest::StreamRequest {
        file: Some(passed("file", request.file)?),
        direction: request.direction.to_aidl(),
        mode: request.mode.to_aidl(),
        priority: request.priority.to_aidl(),
        durability: request.durability.to_aidl(),
        offset: signed("offset", request.offset)?,
        frameBytes: signed("frame_bytes", request.frame_bytes)?,
        bufferCount: sent(count),
        tag: request.tag.to_owned(),
    };
    let stream = service.openStream(&request, &own).map_err(|status| of_call(&status, 0))?;
    let readiness = stream.getReadiness().map_err(|status| of_call(&status, 1))?;
    let buffers = stream.getBuffers().map_err(|status| of_call(&status, MAX_RING as usize))?;
    let buffers = buffers.into_iter().map(buffer).collect::<Result<_, _>>()?;
    Ok(Stream { stream, readiness: into_fd(readiness), buffers, due: 0, dropped: 0 })
}

/// A number of buffers. The service refuses one that does not fit.
fn sent(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

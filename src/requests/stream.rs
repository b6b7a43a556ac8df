//! `openStream`: a ring of buffers between the client and its file.

use super::class;
use super::convert::{buffer, duplicate, CheckedStream};
use super::turns::RequestTurns;
use crate::admission::{Admitted, Class, Lasting};
use crate::state::State;
use crate::stream::ring::{Frame, Next, Ring, Shape};
use crate::stream::{Action, Mover, Stream};
use binder_shim::{pfd, ParcelFileDescriptor};
use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::{Allocation, Heap};
use dmabufio_core::load::Source;
use dmabufio_core::priority::PriorityGuard;
use dmabufio_core::probe;
use dmabufio_core::route::Route;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::turns::Turns;
use dmabufio_core::transfer::{transfer_in_turns, Durability, Request};
use dmabufio_wire::{aidl, receipt_to_aidl, unsigned};
use rustix::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use aidl::StreamFrame::StreamFrame;
use aidl::StreamProgress::StreamProgress;
use aidl::StreamRequest::StreamRequest;

/// Frames that move at a time in a stream that reads direct: while one is handed over, another keeps
/// the disk busy.
const DEPTH: usize = 2;

/// A buffer of a ring.
#[derive(Debug)]
enum RingBuffer {
    /// The client passed it.
    Passed(OwnedFd),
    Allocated(Allocation),
}

impl RingBuffer {
    fn buffer(&self, heap: Heap) -> Result<Buffer<'_>> {
        match self {
            Self::Passed(fd) => Buffer::new(fd.as_fd(), heap),
            Self::Allocated(allocation) => Ok(allocation.buffer()),
        }
    }
}

/// The client's reference to a stream.
#[derive(Debug)]
pub(crate) struct OpenStream {
    stream: Arc<Stream>,
    buffers: Arc<Vec<RingBuffer>>,
    heap: Heap,
}

/// Starts a stream.
pub(crate) fn run(
    state: &Arc<State>,
    uid: u32,
    request: &StreamRequest,
    buffers: &[ParcelFileDescriptor],
) -> Result<OpenStream> {
    let arrival = Instant::now();
    let checked = CheckedStream::new(request, buffers)?;
    state.heap.check_size(checked.frame_bytes)?;
    let class = class(checked.file)?;
    let checked = checked.into_owned()?;
    let (shared, tag) = (Arc::clone(state), request.tag.clone());
    // Before any memory is allocated.
    let place = state.admission.enter_lasting(uid, Lasting::Stream, Class::Ordinary)?;
    let prepare = move |admitted: &Admitted<'_>| {
        let prepared = prepare(&shared, uid, &tag, arrival, checked, admitted)?;
        Ok((place, prepared))
    };
    let (mut place, (mut checked, buffers, shape, class)) =
        state.admission.run("openStream", uid, class, prepare)?;
    checked.buffers.clear();
    if class == Class::Stalling {
        place.stall()?;
    }
    let stream = Arc::new(Stream::new(place, Ring::new(shape))?);
    let buffers = Arc::new(buffers);
    let (shared, of_threads) = (Arc::clone(state), Arc::clone(&buffers));
    stream.start(move |mover, admitted| {
        serve(&shared, uid, mover, &checked, &of_threads, admitted);
    })?;
    Ok(OpenStream { stream, buffers, heap: state.heap.heap() })
}

/// Checks the operands of a stream that has been let in, and allocates its ring. Returns the class
/// of its file, too.
fn prepare(
    state: &State,
    uid: u32,
    tag: &str,
    arrival: Instant,
    mut checked: CheckedStream<OwnedFd>,
    admitted: &Admitted<'_>,
) -> Result<(CheckedStream<OwnedFd>, Vec<RingBuffer>, Shape, Class)> {
    let (heap, direction, frame_bytes) =
        (state.heap.heap(), checked.direction, checked.frame_bytes);
    let file = RegularFile::new(checked.file.as_fd(), heap)?;
    let class = if file.may_stall() { Class::Stalling } else { Class::Ordinary };
    admitted.settle(file.may_stall())?;
    file.check_access(direction)?;
    let align = file.direct_align().unwrap_or(0).max(state.heap.page_size());
    let mut sizes = Vec::with_capacity(checked.count);
    let mut buffers = Vec::with_capacity(checked.count);
    if checked.buffers.is_empty() {
        // Room to shift a frame that does not begin at a multiple of the alignment.
        let shift = if (checked.offset | frame_bytes) % align == 0 { 0 } else { align };
        let size = frame_bytes.saturating_add(shift);
        state.heap.check_size(size)?;
        let reservation =
            state.reserve(uid, checked.count, size.saturating_mul(checked.count as u64))?;
        let State { heap, pool, .. } = state;
        let allocated = &|buffer: &Allocation| reservation.spend(buffer);
        let source = Source { heap, pool: pool.as_ref(), uid, tag, arrival, allocated };
        for _ in 0..checked.count {
            admitted.progress(0)?;
            let allocation = match direction {
                Direction::Load => source.allocate_to_fill(size),
                Direction::Save => source.allocate(size),
            }?;
            sizes.push(allocation.size);
            buffers.push(RingBuffer::Allocated(allocation));
        }
    }
    for (i, fd) in checked.buffers.drain(..).enumerate() {
        let buffer = Buffer::new(fd.as_fd(), heap).map_err(|error| error.in_item(i))?;
        buffer.check_access(direction).map_err(|error| error.in_item(i))?;
        let size = buffer.size();
        if size < frame_bytes {
            let what = format!("buffer: {size} bytes, less than frameBytes={frame_bytes}");
            return Err(Error::new(ErrorKind::InvalidRequest, what).in_item(i));
        }
        sizes.push(size);
        buffers.push(RingBuffer::Passed(fd));
    }
    let offset = checked.offset;
    log::debug!("stream uid={uid} tag={tag}: {direction:?}, {} buffers", buffers.len());
    let is_direct = |buffer: &RingBuffer| {
        let support = probe::buffer(&buffer.buffer(heap)?, direction)?;
        Ok::<_, Error>(Route::choose(support, &file, checked.mode)?.direct.is_some())
    };
    // Buffered, the kernel reads ahead by itself, and would lose its place in the file; and a daemon
    // that may stall could hold up a frame because of the one behind it. What is wrong shows when
    // the first frame moves.
    let direct = buffers.iter().all(|buffer| is_direct(buffer).unwrap_or(false));
    let depth = if direct && direction == Direction::Load { DEPTH } else { 1 };
    let shape = Shape { direction, sizes, frame_bytes, offset, align, depth };
    Ok((checked, buffers, shape, class))
}

/// Moves frames of a stream, on one of its threads.
fn serve(
    state: &State,
    uid: u32,
    mover: &Mover<'_>,
    checked: &CheckedStream<OwnedFd>,
    buffers: &[RingBuffer],
    admitted: &Admitted<'_>,
) {
    let heap = state.heap.heap();
    let open = || {
        let buffers = buffers.iter().map(|buffer| buffer.buffer(heap)).collect::<Result<Vec<_>>>();
        Ok((buffers?, RegularFile::new(checked.file.as_fd(), heap)?))
    };
    let (buffers, file) = match open() {
        Ok(opened) => opened,
        Err(error) => {
            state.count_failure("stream", uid, &error);
            return mover.abort(error);
        }
    };
    let _priority = PriorityGuard::new(checked.priority);
    // One seat for all frames of this thread, which learns how fast the disk is.
    let mut turns = RequestTurns::new(state, uid, checked.priority, &file, admitted);
    while let Some(action) = mover.next_action() {
        let result = act(heap, action, checked, &buffers, admitted, &mut turns);
        // First of all: the client waits for it.
        mover.finish_action(action, result.clone());
        state.count("stream", uid, checked.priority, result.as_ref());
    }
}

/// Moves one frame, or makes the file durable.
fn act(
    heap: Heap,
    action: Action,
    checked: &CheckedStream<OwnedFd>,
    buffers: &[Buffer<'_>],
    admitted: &Admitted<'_>,
    turns: &mut dyn Turns,
) -> Result<Receipt> {
    let (index, extent, durability) = match action {
        Action::Move(Frame { index, file_offset, buffer_offset, len, .. }) => {
            (index, Extent { file_offset, buffer_offset, len }, Durability::None)
        }
        // A save of nothing.
        Action::Sync => {
            (0, Extent { file_offset: 0, buffer_offset: 0, len: 0 }, checked.durability)
        }
    };
    admitted.begin(checked.priority, extent.len);
    let receipt = transfer_in_turns(
        &Request {
            buffer: &buffers[index],
            // The file may have grown.
            file: &RegularFile::new(checked.file.as_fd(), heap)?,
            extents: &[extent],
            direction: checked.direction,
            mode: checked.mode,
            durability,
        },
        turns,
    )?;
    if checked.direction == Direction::Save && receipt.bytes() != extent.len {
        let what = format!("file: took {} of {} bytes", receipt.bytes(), extent.len);
        return Err(Error::new(ErrorKind::Io, what));
    }
    Ok(receipt)
}

impl OpenStream {
    /// The buffers that the service allocated, with descriptors of their own.
    pub fn buffers(&self) -> Result<Vec<aidl::Buffer::Buffer>> {
        let allocated = self.buffers.iter().filter_map(|buffer| match buffer {
            RingBuffer::Passed(_) => None,
            RingBuffer::Allocated(allocation) => Some(allocation),
        });
        let copy = |Allocation { fd, size, .. }: &Allocation| {
            Ok(buffer(duplicate("buffer", fd.as_fd())?, *size, self.heap))
        };
        allocated.map(copy).collect()
    }

    /// What tells that there is something to do.
    pub fn readiness(&self) -> Result<ParcelFileDescriptor> {
        Ok(pfd(duplicate("readiness", self.stream.readiness().as_fd())?))
    }

    /// The next frame of a stream that reads.
    pub fn next_frame(&self) -> Result<StreamFrame> {
        let next = self.stream.with_ring(Ring::next)?;
        Ok(match next {
            Next::EndOfFile => StreamFrame { index: -1, ..Default::default() },
            Next::Frame(frame) => StreamFrame {
                index: frame.index as i32,
                number: clamped(frame.number),
                fileOffset: clamped(frame.file_offset),
                bufferOffset: clamped(frame.buffer_offset),
                length: clamped(frame.len),
                readyNanos: frame.timestamp,
            },
        })
    }

    /// A free buffer of a stream that writes.
    pub fn acquire(&self) -> Result<i32> {
        self.stream.with_ring(|ring| ring.acquire().map(|index| index as i32))
    }

    /// Queues a frame for the file.
    pub fn submit(&self, index: i32, offset: i64, length: i64, timestamp: i64) -> Result<()> {
        let (offset, len) = (unsigned("bufferOffset", offset)?, unsigned("length", length)?);
        self.stream.with_ring(|ring| ring.submit(index, offset, len, timestamp))
    }

    /// Takes a buffer back.
    pub fn release(&self, index: i32) -> Result<()> {
        self.stream.with_ring(|ring| ring.release(index))
    }

    /// Reads on elsewhere.
    pub fn seek(&self, offset: i64) -> Result<()> {
        let offset = unsigned("offset", offset)?;
        self.stream.with_ring(|ring| ring.seek(offset))
    }

    /// Ends the stream after what was submitted.
    pub fn finish(&self) {
        self.stream.with_ring(Ring::finish);
    }

    /// How far the stream is.
    pub fn progress(&self) -> StreamProgress {
        let (moved, ended) = self.stream.with_ring(|ring| (ring.progress(), ring.has_ended()));
        StreamProgress {
            frames: clamped(moved.frames),
            bytes: clamped(moved.bytes),
            timestampNanos: moved.timestamp,
            ended,
        }
    }

    /// What became of the stream.
    pub fn result(&self) -> Result<aidl::Receipt::Receipt> {
        self.stream.result().map(receipt_to_aidl)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.stream.end();
    }
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

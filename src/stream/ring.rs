//! The ring of a stream as a step machine: which buffer is whose, and what the service moves next.
//!
//! It knows no descriptors, no threads and no time. A buffer goes round: in a stream that reads, it is
//! free, then the service fills it, then its frame is queued, then the client holds it. In a stream
//! that writes, it is free, then the client holds it, then its frame is queued, then the service
//! writes it.

use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::Direction;
use std::collections::VecDeque;
use std::mem;

/// The largest offset in a file.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// A part of the file, in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The buffer.
    pub index: usize,
    /// How many frames come before it.
    pub number: u64,
    pub file_offset: u64,
    pub buffer_offset: u64,
    pub len: u64,
    /// A stream that reads: when it was complete. A stream that writes: the client's number.
    pub timestamp: i64,
}

/// What the service should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Move this frame, then call [`Ring::moved`] or [`Ring::fail`].
    Move(Frame),
    /// Make the file durable, then call [`Ring::synced`] or [`Ring::fail`].
    Sync,
    /// Wait for the client.
    Wait,
    /// Nothing more.
    End,
}

/// What [`Ring::next`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Frame(Frame),
    EndOfFile,
}

/// How much has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub frames: u64,
    pub bytes: u64,
    /// Of the last frame.
    pub timestamp: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    /// The service moves its frame.
    Moving,
    /// Its frame is in the queue.
    Queued,
    /// The client has it.
    Held,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client has finished a stream that writes.
    Finishing,
    Ended(Result<()>),
}

/// The shape of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub direction: Direction,
    /// The sizes of the buffers in bytes.
    pub sizes: Vec<u64>,
    /// The length of a frame in bytes: each buffer is at least as long.
    pub frame_bytes: u64,
    /// The place of the first frame in the file.
    pub offset: u64,
    /// A frame goes direct only if its places in file and buffer are equal modulo this.
    pub align: u64,
}

/// The ring of one stream.
#[derive(Debug)]
pub(crate) struct Ring {
    shape: Shape,
    slots: Vec<Slot>,
    /// Frames that are ready for the client, or for the file.
    queue: VecDeque<Frame>,
    moving: Option<Frame>,
    /// The client has moved the stream away from the frame that moves.
    stale: bool,
    /// Where the next frame begins that is read ahead, or submitted.
    position: u64,
    /// Frames that the client has been handed, or has submitted.
    count: u64,
    end_of_file: bool,
    moved: Moved,
    phase: Phase,
    /// The client waits, or may begin to.
    wants_bell: bool,
}

impl Ring {
    pub fn new(shape: Shape) -> Self {
        Self {
            slots: vec![Slot::Free; shape.sizes.len()],
            queue: VecDeque::with_capacity(shape.sizes.len()),
            moving: None,
            stale: false,
            position: shape.offset,
            count: 0,
            end_of_file: false,
            moved: Moved::default(),
            phase: Phase::Open,
            wants_bell: true,
            shape,
        }
    }

    // The side of the service.

    /// What to do next. Whoever gets [`Work::Move`] must report the end of the move before it asks
    /// again.
    pub fn work(&mut self) -> Work {
        match self.phase {
            Phase::Ended(_) => return Work::End,
            Phase::Finishing if self.queue.is_empty() => return Work::Sync,
            Phase::Open | Phase::Finishing => {}
        }
        let frame = match self.shape.direction {
            Direction::Load => self.read_ahead(),
            Direction::Save => self.queue.pop_front(),
        };
        let Some(frame) = frame else { return Work::Wait };
        self.slots[frame.index] = Slot::Moving;
        self.moving = Some(frame);
        Work::Move(frame)
    }

    /// The frame has moved: `len` bytes of it, at `now`.
    pub fn moved(&mut self, len: u64, now: i64) {
        let Some(frame) = self.moving.take() else { return };
        self.slots[frame.index] = Slot::Free;
        if self.shape.direction == Direction::Load {
            if mem::take(&mut self.stale) || self.is_closed() {
                return;
            }
            self.end_of_file = len < frame.len;
            if len == 0 {
                return;
            }
            self.slots[frame.index] = Slot::Queued;
            self.queue.push_back(Frame { len, timestamp: now, ..frame });
        }
        self.moved.frames += 1;
        self.moved.bytes += len;
        self.moved.timestamp = frame.timestamp;
    }

    /// The file is durable.
    pub fn synced(&mut self) {
        self.phase = Phase::Ended(Ok(()));
    }

    /// The move, or the sync, has failed: the stream has ended.
    pub fn fail(&mut self, error: Error) {
        let frame = self.moving.take();
        if let Some(Frame { index, .. }) = frame {
            self.slots[index] = Slot::Free;
        }
        if mem::take(&mut self.stale) || self.is_closed() {
            // Nobody wants the frame any more. What is wrong with the file will show again.
            return;
        }
        if self.shape.direction == Direction::Save {
            self.drop_queue();
        }
        let error = match frame {
            Some(Frame { number, file_offset, .. }) => error.in_frame(number, file_offset),
            None => error,
        };
        self.phase = Phase::Ended(Err(error));
    }

    /// Whether to wake the client now. True once for each time that the client found nothing.
    pub fn takes_bell(&mut self) -> bool {
        let ready = match self.shape.direction {
            Direction::Load => !self.queue.is_empty() || self.end_of_file,
            Direction::Save => self.slots.contains(&Slot::Free),
        };
        (ready || self.is_closed()) && mem::take(&mut self.wants_bell)
    }

    /// Whether nobody wants the frame that moves.
    pub fn is_unwanted(&self) -> bool {
        self.stale || self.is_closed()
    }

    /// Whether nothing moves any more.
    pub fn has_ended(&self) -> bool {
        self.is_closed() && self.moving.is_none()
    }

    // The side of the client.

    /// A stream that reads: the next frame, which the client now holds.
    ///
    /// # Errors
    /// `Busy` if none is ready; the error that ended the stream once none is left.
    pub fn next(&mut self) -> Result<Next> {
        self.check_direction(Direction::Load)?;
        if let Some(frame) = self.queue.pop_front() {
            self.slots[frame.index] = Slot::Held;
            self.count += 1;
            return Ok(Next::Frame(frame));
        }
        match &self.phase {
            Phase::Ended(Err(error)) => return Err(error.clone()),
            Phase::Open if !self.end_of_file => {}
            _ => return Ok(Next::EndOfFile),
        }
        self.wants_bell = true;
        Err(busy("no frame is ready"))
    }

    /// A stream that writes: a free buffer, which the client now holds.
    ///
    /// # Errors
    /// `Busy` if none is free; the error that ended the stream.
    pub fn acquire(&mut self) -> Result<usize> {
        self.check_direction(Direction::Save)?;
        self.check_open()?;
        match self.slots.iter().position(|slot| *slot == Slot::Free) {
            Some(index) => {
                self.slots[index] = Slot::Held;
                Ok(index)
            }
            None => {
                self.wants_bell = true;
                Err(busy("no buffer is free"))
            }
        }
    }

    /// A stream that writes: queues `len` bytes of a buffer that the client holds.
    pub fn submit(
        &mut self,
        index: i32,
        buffer_offset: u64,
        len: u64,
        timestamp: i64,
    ) -> Result<()> {
        self.check_direction(Direction::Save)?;
        self.check_open()?;
        let index = self.held(index)?;
        let (size, most) = (self.shape.sizes[index], self.shape.frame_bytes);
        if len == 0 || len > most {
            return Err(invalid(format!("length={len}: not between 1 and {most} bytes")));
        }
        if buffer_offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(invalid(format!(
                "bufferOffset={buffer_offset} length={len}: ends beyond the buffer of {size} bytes"
            )));
        }
        let file_offset = self.position;
        if len > MAX_OFFSET - file_offset {
            return Err(invalid(format!(
                "length={len}: the file would end beyond 63 bits at file_offset={file_offset}"
            )));
        }
        let number = self.count;
        self.queue.push_back(Frame { index, number, file_offset, buffer_offset, len, timestamp });
        self.slots[index] = Slot::Queued;
        self.position += len;
        self.count += 1;
        Ok(())
    }

    /// Takes a buffer back that the client holds.
    pub fn release(&mut self, index: i32) -> Result<()> {
        let index = self.held(index)?;
        self.slots[index] = Slot::Free;
        Ok(())
    }

    /// A stream that reads: goes on at `offset`.
    pub fn seek(&mut self, offset: u64) -> Result<()> {
        self.check_direction(Direction::Load)?;
        self.check_open()?;
        self.drop_queue();
        self.stale = self.moving.is_some();
        self.position = offset;
        self.end_of_file = false;
        Ok(())
    }

    /// Ends the stream, after what was submitted.
    pub fn finish(&mut self) {
        match (self.shape.direction, &self.phase) {
            (Direction::Load, Phase::Open) => {
                self.drop_queue();
                self.phase = Phase::Ended(Ok(()));
            }
            (Direction::Save, Phase::Open) => self.phase = Phase::Finishing,
            _ => {}
        }
    }

    /// How much has moved.
    pub fn progress(&self) -> Moved {
        self.moved
    }

    /// How the stream has ended.
    ///
    /// # Errors
    /// `Busy` if it has not.
    pub fn outcome(&self) -> Result<()> {
        match &self.phase {
            Phase::Ended(outcome) if self.has_ended() => outcome.clone(),
            _ => Err(busy("the stream has not ended")),
        }
    }

    /// The next frame to read, if a buffer is free for it.
    fn read_ahead(&mut self) -> Option<Frame> {
        let Shape { align, frame_bytes, .. } = self.shape;
        let len = frame_bytes.min(MAX_OFFSET.saturating_sub(self.position));
        if self.end_of_file {
            return None;
        }
        if len == 0 {
            self.end_of_file = true;
            return None;
        }
        let index = self.slots.iter().position(|slot| *slot == Slot::Free)?;
        let phase = self.position % align;
        let fits = phase.checked_add(len).is_some_and(|end| end <= self.shape.sizes[index]);
        let frame = Frame {
            index,
            number: self.count + self.queue.len() as u64,
            file_offset: self.position,
            buffer_offset: if fits { phase } else { 0 },
            len,
            timestamp: 0,
        };
        self.position += len;
        Some(frame)
    }

    fn drop_queue(&mut self) {
        for Frame { index, .. } in self.queue.drain(..) {
            self.slots[index] = Slot::Free;
        }
    }

    fn held(&self, index: i32) -> Result<usize> {
        let held = usize::try_from(index).ok().filter(|i| self.slots.get(*i) == Some(&Slot::Held));
        held.ok_or_else(|| {
            let n = self.slots.len();
            invalid(format!("index={index}: the client does not hold this one of {n} buffers"))
        })
    }

    fn check_direction(&self, direction: Direction) -> Result<()> {
        match (self.shape.direction, direction) {
            (Direction::Load, Direction::Save) => {
                Err(invalid("the stream reads; only one that writes can do this".to_owned()))
            }
            (Direction::Save, Direction::Load) => {
                Err(invalid("the stream writes; only one that reads can do this".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    fn check_open(&self) -> Result<()> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Ended(Err(error)) => Err(error.clone()),
            Phase::Finishing | Phase::Ended(Ok(())) => {
                Err(invalid("the stream was finished".to_owned()))
            }
        }
    }
}

fn busy(what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("{what}; wait for the readiness"))
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

#[cfg(test)]
mod tests;

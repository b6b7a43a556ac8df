//! The ring of a stream as a step machine: which buffer is whose, and what the service moves next.
//!
//! It knows no descriptors, no threads and no time. A buffer goes round: in a stream that reads, it
//! is free, then the service fills it, then its frame is ready, then the client holds it. In a
//! stream that writes, it is free, then the client holds it, then its frame is submitted, then the
//! service writes it.
//!
//! Several frames that are read may move at a time, and end in any order. The client gets them in
//! the order of the file, and hears of an error or of the end of the file after the frames before
//! it.

mod frame;
mod phase;

use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_core::extent::Direction;
use phase::Phase;
use std::collections::VecDeque;
use std::mem;

pub(crate) use frame::{Frame, Moved, Next, Shape, Work};

/// The largest offset in a file.
const MAX_OFFSET: u64 = i64::MAX as u64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Free,
    /// The service moves its frame, which is in the queue unless nobody wants it any more.
    Moving,
    /// Its frame is in the queue, and does not move.
    Queued,
    /// Its frame is in the queue, and could not be read.
    Failed(Error),
    /// The client has it.
    Held,
}

/// The ring of one stream.
#[derive(Debug)]
pub(crate) struct Ring {
    shape: Shape,
    slots: Vec<Slot>,
    /// The frames on their way between the file and the client, in the order of the file.
    queue: VecDeque<Frame>,
    /// A stream that reads: so many frames at the front of the queue are for the client to take.
    ready: usize,
    /// Where the next frame begins that is read ahead, or submitted.
    position: u64,
    /// Frames that the client has been handed, or has submitted.
    count: u64,
    /// A stream that reads: nothing follows the frames in the queue, because of the end of the file
    /// or an error.
    at_end: bool,
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
            ready: 0,
            position: shape.offset,
            count: 0,
            at_end: false,
            moved: Moved::default(),
            phase: Phase::Open,
            wants_bell: true,
            shape,
        }
    }

    // The side of the service.

    /// How many frames may move at a time.
    pub fn depth(&self) -> usize {
        self.shape.depth
    }

    /// What to do next.
    pub fn work(&mut self) -> Work {
        match self.phase {
            Phase::Ended(_) => return Work::End,
            Phase::Finishing if self.queue.is_empty() => return Work::Sync,
            Phase::Open | Phase::Finishing => {}
        }
        if self.slots.iter().filter(|slot| **slot == Slot::Moving).count() >= self.shape.depth {
            return Work::Wait;
        }
        let frame = match self.shape.direction {
            Direction::Load => self.read_ahead(),
            Direction::Save => self.queue.front().copied(),
        };
        let Some(frame) = frame else { return Work::Wait };
        self.slots[frame.index] = Slot::Moving;
        Work::Move(frame)
    }

    /// The frame of buffer `index` has moved: `len` bytes of it, at `now`.
    pub fn moved(&mut self, index: usize, len: u64, now: i64) {
        self.slots[index] = Slot::Free;
        let Some(place) = self.place(index) else { return };
        if self.shape.direction == Direction::Save {
            let timestamp = self.queue[place].timestamp;
            self.queue.remove(place);
            return self.count_moved(len, timestamp);
        }
        if len < self.queue[place].len {
            self.at_end = true;
            self.drop_queue_from(if len == 0 { place } else { place + 1 });
        }
        if len > 0 {
            self.slots[index] = Slot::Queued;
            self.queue[place].len = len;
        }
        self.settle(now);
    }

    /// The frame of buffer `index` has not moved. The stream ends, once the frames before it have
    /// moved.
    pub fn fail(&mut self, index: usize, error: Error, now: i64) {
        self.slots[index] = Slot::Free;
        // If nobody wants the frame any more: what is wrong with the file will show again.
        let Some(place) = self.place(index) else { return };
        let Frame { number, file_offset, .. } = self.queue[place];
        let error = error.in_frame(number, file_offset);
        if self.shape.direction == Direction::Save {
            return self.abort(error);
        }
        self.slots[index] = Slot::Failed(error);
        self.at_end = true;
        self.drop_queue_from(place + 1);
        self.settle(now);
    }

    /// The file is durable.
    pub fn synced(&mut self) {
        self.phase = Phase::Ended(Ok(()));
    }

    /// The stream ends with an error of no frame.
    pub fn abort(&mut self, error: Error) {
        if !self.phase.is_closed() {
            self.drop_queue_from(self.ready);
            self.phase = Phase::Ended(Err(error));
        }
    }

    /// Whether to wake the client now. True once for each time that the client found nothing.
    pub fn takes_bell(&mut self) -> bool {
        let ready = match self.shape.direction {
            Direction::Load => self.ready > 0 || self.found_end(),
            Direction::Save => self.slots.contains(&Slot::Free),
        };
        (ready || self.phase.is_closed()) && mem::take(&mut self.wants_bell)
    }

    /// Whether somebody wants the frame that moves in buffer `index`.
    pub fn is_wanted(&self, index: usize) -> bool {
        self.place(index).is_some()
    }

    /// Whether nothing moves any more.
    pub fn has_ended(&self) -> bool {
        self.phase.is_closed() && !self.slots.contains(&Slot::Moving)
    }

    // The side of the client.

    /// A stream that reads: the next frame, which the client now holds.
    ///
    /// # Errors
    /// `Busy` if none is ready; the error that ended the stream once none is left.
    pub fn next(&mut self) -> Result<Next> {
        self.check_direction(Direction::Load)?;
        if let Some(&frame) = self.queue.front().filter(|_| self.ready > 0) {
            self.queue.pop_front();
            self.ready -= 1;
            self.slots[frame.index] = Slot::Held;
            self.count += 1;
            return Ok(Next::Frame(frame));
        }
        match &self.phase {
            Phase::Ended(Err(error)) => return Err(error.clone()),
            Phase::Open if !self.found_end() => {}
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
        self.phase.check_open()?;
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
        self.phase.check_open()?;
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
        self.phase.check_open()?;
        self.drop_queue_from(0);
        self.position = offset;
        self.at_end = false;
        Ok(())
    }

    /// Ends the stream, after what was submitted.
    pub fn finish(&mut self) {
        match (self.shape.direction, &self.phase) {
            (Direction::Load, Phase::Open) => {
                self.drop_queue_from(0);
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
        if self.at_end {
            return None;
        }
        if len == 0 {
            self.at_end = true;
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
        self.queue.push_back(frame);
        Some(frame)
    }

    /// Makes the frames ready that are complete and have none before them that still moves.
    fn settle(&mut self, now: i64) {
        while let Some(frame) = self.queue.get_mut(self.ready) {
            match &self.slots[frame.index] {
                Slot::Queued => {
                    frame.timestamp = now;
                    let len = frame.len;
                    self.ready += 1;
                    self.count_moved(len, 0);
                }
                Slot::Failed(error) => {
                    let error = error.clone();
                    return self.abort(error);
                }
                _ => return,
            }
        }
    }

    fn count_moved(&mut self, len: u64, timestamp: i64) {
        let Moved { frames, bytes, .. } = self.moved;
        self.moved = Moved { frames: frames + 1, bytes: bytes + len, timestamp };
    }

    /// Whether the client has had all frames up to the end of the file.
    fn found_end(&self) -> bool {
        self.at_end && self.queue.is_empty()
    }

    /// The place in the queue of the frame of buffer `index`.
    fn place(&self, index: usize) -> Option<usize> {
        self.queue.iter().position(|frame| frame.index == index)
    }

    /// Forgets the frames from `place` on. The buffers of those that move are free when their moves
    /// have ended.
    fn drop_queue_from(&mut self, place: usize) {
        for Frame { index, .. } in self.queue.drain(place..) {
            if self.slots[index] != Slot::Moving {
                self.slots[index] = Slot::Free;
            }
        }
        self.ready = self.ready.min(place);
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
}

fn busy(what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("{what}; wait for the readiness"))
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, what)
}

#[cfg(test)]
mod tests;

//! What a ring tells of its frames, and what it has to know of their stream.

use dmabufio_core::extent::Direction;

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
    /// A stream that reads: when it and all before it were complete. A stream that writes: the
    /// client's number.
    pub timestamp: i64,
}

/// What the service should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Move this frame, then call `Ring::moved` or `Ring::fail`.
    Move(Frame),
    /// Make the file durable, then call `Ring::synced` or `Ring::abort`.
    Sync,
    /// Wait for the client.
    Wait,
    /// Nothing more.
    End,
}

/// What `Ring::next` finds.
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
    /// How many frames may move at a time: one in a stream that writes, so that the file never has
    /// a frame without those before it.
    pub depth: usize,
}

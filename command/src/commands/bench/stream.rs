//! A file read frame by frame through a ring, beside a load of all of it and read(2).

use super::ours::{load_case, Clients};
use super::runner::{Case, Source, Times};
use anyhow::{ensure, Result};
use dmabufio_client::stream::{Frame, Next, Ring, Stream, StreamRequest};
use dmabufio_client::Client;
use dmabufio_core::extent::Direction;
use dmabufio_core::method::Mode;
use std::hint::black_box;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Bytes in a frame, and buffers in the ring: 64 MiB.
const FRAME: u64 = 8 << 20;
const BUFFERS: usize = 8;

/// The rows. `chunk` is the size of a buffer of the load.
pub fn stream<'a>(source: &'a Source, clients: &'a Clients, chunk: u64) -> Vec<Case<'a>> {
    let Clients { service, .. } = clients;
    vec![
        Case::new("stream through a ring of 64 MiB", source.len, move |verify| {
            through_ring(source, service, verify)
        }),
        load_case(source, service, "load through the service".to_owned(), chunk),
        Case::new("read(2) each frame into the heap", source.len, move |verify| {
            read(source, verify)
        }),
    ]
}

fn through_ring(source: &Source, client: &Client, verify: bool) -> Result<Times> {
    let ring = Ring::Allocate(BUFFERS);
    let request = StreamRequest::new(source.buffered.as_fd(), Direction::Load, FRAME, ring);
    let start = Instant::now();
    let mut stream = client.open_stream(&StreamRequest { mode: Mode::Direct, ..request })?;
    let mut moved = 0;
    while moved < source.len {
        let Next::Frame(frame) = stream.next(None)? else { break };
        if verify {
            compare(source, &stream, &frame)?;
        }
        moved += frame.len;
        stream.release(frame.index)?;
    }
    let times = Times { both: start.elapsed(), ..Times::default() };
    ensure!(moved >= source.len, "the stream ended after {moved} of {} bytes", source.len);
    Ok(times)
}

fn compare(source: &Source, stream: &Stream, frame: &Frame) -> Result<()> {
    let buffer = &stream.buffers()[frame.index];
    source.verify(frame.file_offset, frame.len, |at, out| {
        Ok(buffer.read(frame.buffer_offset + at, out)?)
    })
}

fn read(source: &Source, verify: bool) -> Result<Times> {
    let mut frame = vec![0; usize::try_from(FRAME)?];
    let start = Instant::now();
    for offset in (0..source.len).step_by(frame.len()) {
        let len = FRAME.min(source.len - offset);
        source.buffered.read_exact_at(&mut frame[..len as usize], offset)?;
        if verify {
            source.verify(offset, len, |at, out| {
                out.copy_from_slice(&frame[at as usize..][..out.len()]);
                Ok(())
            })?;
        }
        black_box(&frame);
    }
    Ok(Times { both: start.elapsed(), ..Times::default() })
}

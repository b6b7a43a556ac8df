//! Streams: the frames of a ring arrive complete and in order, in both directions.

use super::device::{content, expect, on_every_instance, open, specific, Device, LEN};
use binder_shim::{borrow, ex, pfd, Strong};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::read;
use std::fs;
use std::path::Path;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction, Durability::Durability, Error::Error, IBufferStream::IBufferStream,
    IDmabufIo::MAX_RING, StreamFrame::StreamFrame, StreamRequest::StreamRequest,
};

const FRAME: usize = 65_536;

fn request(path: &Path, flags: OFlags) -> StreamRequest {
    StreamRequest {
        file: Some(pfd(open(path, flags))),
        frameBytes: FRAME as i64,
        bufferCount: 3,
        ..Default::default()
    }
}

fn stream(device: &Device, request: &StreamRequest) -> Strong<dyn IBufferStream> {
    device.service.openStream(request, &[]).expect("a stream")
}

/// Waits for the readiness of a stream, and empties it.
fn wait(stream: &Strong<dyn IBufferStream>) {
    let readiness = stream.getReadiness().expect("a descriptor");
    let readiness = borrow(&readiness);
    let mut fds = [PollFd::new(&readiness, PollFlags::IN)];
    assert_eq!(poll(&mut fds, 30_000), Ok(1), "the stream does not go on");
    // At the end there is nothing to read.
    let _ = read(readiness, &mut [0; 64]);
}

fn next(stream: &Strong<dyn IBufferStream>) -> StreamFrame {
    loop {
        match stream.next() {
            Ok(frame) => return frame,
            Err(status) => assert_eq!(specific(&status), Error::BUSY),
        }
        wait(stream);
    }
}

#[test]
fn stream_reads_the_file_in_frames() {
    on_every_instance(|device| {
        let (path, expected) = device.file("played", 5 * FRAME + 777);
        let stream = stream(device, &request(&path, OFlags::RDONLY));
        let buffers = stream.getBuffers().expect("the ring");
        assert_eq!(buffers.len(), 3);
        for (i, part) in expected.chunks(FRAME).enumerate() {
            let frame = next(&stream);
            assert_eq!((frame.number, frame.fileOffset), (i as i64, (i * FRAME) as i64));
            assert_eq!(frame.length, part.len() as i64);
            let start = frame.bufferOffset as usize;
            let bytes = content(&buffers[frame.index as usize].fd, start + part.len());
            assert!(bytes[start..] == *part, "frame {i} differs");
            stream.release(frame.index).expect("release");
        }
        assert_eq!(next(&stream).index, -1);
        stream.seek(FRAME as i64).expect("seek");
        assert_eq!(next(&stream).fileOffset, FRAME as i64);
    });
}

#[test]
fn stream_writes_frames_in_the_order_of_their_submission() {
    on_every_instance(|device| {
        let path = device.dir.path().join("recorded");
        fs::write(&path, "").expect("create");
        let mut request = request(&path, OFlags::WRONLY);
        (request.direction, request.durability) = (Direction::SAVE, Durability::FULL);
        let load = device.load();
        device.service.transfer(&load).expect("load");
        let expected = content(&load.buffer, LEN);
        // The same buffer of the caller, three times as long as a frame.
        request.bufferCount = 0;
        let own = [load.buffer.expect("a buffer")];
        let stream = device.service.openStream(&request, &own).expect("a stream");
        assert!(stream.getBuffers().expect("none").is_empty());
        for i in 0..3 {
            let index = loop {
                match stream.acquire() {
                    Ok(index) => break index,
                    Err(status) => assert_eq!(specific(&status), Error::BUSY),
                }
                wait(&stream);
            };
            let (offset, length) = (i * FRAME, FRAME - i);
            stream.submit(index, offset as i64, length as i64, 100 + i as i64).expect("submit");
        }
        stream.finish().expect("finish");
        while !stream.getProgress().expect("progress").ended {
            wait(&stream);
        }
        let progress = stream.getProgress().expect("progress");
        let bytes = 3 * FRAME as i64 - 3;
        assert_eq!((progress.frames, progress.bytes, progress.timestampNanos), (3, bytes, 102));
        assert_eq!(stream.getResult().expect("a receipt").bytes, bytes);
        let written = fs::read(&path).expect("read");
        let frames = (0..3).flat_map(|i| &expected[i * FRAME..(i + 1) * FRAME - i]);
        assert!(written.iter().eq(frames), "the file differs");
    });
}

#[test]
fn stream_that_cannot_be_is_illegal() {
    on_every_instance(|device| {
        let (path, _) = device.file("refused", LEN);
        let valid = || request(&path, OFlags::RDONLY);
        for request in [
            StreamRequest { bufferCount: 0, ..valid() },
            StreamRequest { bufferCount: -1, ..valid() },
            StreamRequest { bufferCount: MAX_RING + 1, ..valid() },
            StreamRequest { frameBytes: 0, ..valid() },
            StreamRequest { frameBytes: -1, ..valid() },
            StreamRequest { offset: -1, ..valid() },
            StreamRequest { direction: Direction::SAVE, ..valid() },
            StreamRequest { durability: Durability::FULL, ..valid() },
        ] {
            let status = device.service.openStream(&request, &[]).map(drop).expect_err("illegal");
            expect(&status, ex::ILLEGAL_ARGUMENT);
        }
        let stream = stream(device, &valid());
        let calls = [
            stream.release(0),
            stream.release(-1),
            stream.submit(0, 0, 1, 0),
            stream.acquire().map(drop),
            stream.seek(-1),
        ];
        for call in calls {
            expect(&call.expect_err("illegal"), ex::ILLEGAL_ARGUMENT);
        }
    });
}

//! Streams, through the client library and the AIDL interface: on this host over a Unix socket with
//! the embedded heap (`stream.rs`), in the VM over kernel binder with the system heap
//! (`vm_stream.rs`).

#[path = "../../client/examples/recorder.rs"]
#[allow(dead_code, reason = "its main function reads the command line")]
pub mod recorder;

use crate::support::fixture::{duplicate, expect, Fixture};
use crate::support::{read_buffer, Random};
use binder_shim::{describe, ex, pfd, ParcelFileDescriptor, Strong};
use dmabufio_client::stream::{Acquired, Frame, Next, Ring, Stream, StreamRequest};
use dmabufio_client::{open_regular, Buffer, Client};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::Direction as Way;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::Durability;
use recorder::{Camera, Recording};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, OFlags, SealFlags};
use rustix::pipe::pipe;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction, Durability::Durability as Durable, Error::Error as Code,
    IBufferStream::IBufferStream, StreamRequest::StreamRequest as Request,
};

/// Neither a multiple of the frames nor of the page.
const LEN: usize = 1_000_003;
const FRAME: usize = 100_001;

/// A client of the service of `fixture`.
pub fn client(fixture: &Fixture) -> Client {
    let client = match fixture.child {
        Some(_) => Client::socket(&fixture.dir.path().join("socket")),
        None => Client::service(),
    };
    client.expect("a client")
}

pub fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(30))
}

/// The next frame of a stream that must have one.
pub fn next_frame(stream: &mut Stream) -> Frame {
    match stream.next(soon()).unwrap_or_else(|error| panic!("{error}")) {
        Next::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

/// A buffer of a stream that must have one.
pub fn buffer_for(stream: &mut Stream) -> (usize, u64) {
    match stream.acquire(soon()).unwrap_or_else(|error| panic!("{error}")) {
        Acquired::Buffer { index, frame } => (index, frame),
        Acquired::Dropped { frame } => panic!("frame {frame} is dropped"),
    }
}

fn content_of(fixture: &Fixture, buffers: &[Buffer], frame: Frame) -> Vec<u8> {
    let (start, len) = (frame.buffer_offset as usize, frame.len as usize);
    let bytes = read_buffer(buffers[frame.index].as_fd(), fixture.heap, start + len);
    bytes[start..].to_vec()
}

#[test]
fn file_arrives_in_order_and_to_its_last_byte() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    let (path, content) = fixture.file("read", LEN);
    let file = File::open(&path).expect("open");
    // With O_DIRECT frames go direct by a mapping, too, so that two move at a time.
    let direct = open_regular(&path, OFlags::DIRECT).expect("a file system with direct I/O");
    let own: Vec<Buffer> =
        (0..4).map(|_| client.allocate(FRAME as u64, "own").expect("one")).collect();
    let fds: Vec<_> = own.iter().map(Buffer::as_fd).collect();
    let cases = [
        (&file, Ring::Allocate(3)),
        (&file, Ring::Own(&fds)),
        (&direct, Ring::Allocate(3)),
        (&direct, Ring::Own(&fds)),
    ];
    for (file, ring) in cases {
        let request = StreamRequest::new(file.as_fd(), Way::Load, FRAME as u64, ring);
        let mut stream = client.open_stream(&request).expect("a stream");
        let mut position = 0;
        for number in 0..10 {
            let frame = next_frame(&mut stream);
            let len = FRAME.min(LEN - position);
            assert_eq!((frame.number, frame.file_offset), (number, position as u64));
            assert_eq!(frame.len, len as u64);
            let buffers = if stream.buffers().is_empty() { &own } else { stream.buffers() };
            let bytes = content_of(&fixture, buffers, frame);
            assert!(bytes == content[position..position + len], "frame {number} differs");
            position += len;
            stream.release(frame.index).expect("release");
        }
        assert_eq!(position, LEN);
        assert_eq!(stream.next(soon()).expect("the end"), Next::EndOfFile);
        let progress = stream.progress().expect("progress");
        assert_eq!((progress.frames, progress.bytes, progress.ended), (10, LEN as u64, false));
        stream.seek(500_002).expect("seek");
        let frame = next_frame(&mut stream);
        assert_eq!((frame.number, frame.file_offset), (10, 500_002));
        let buffers = if stream.buffers().is_empty() { &own } else { stream.buffers() };
        let bytes = content_of(&fixture, buffers, frame);
        assert!(bytes == content[500_002..500_002 + FRAME], "the frame behind the seek differs");
        stream.seek(LEN as u64 + 1).expect("seek behind the end");
        assert_eq!(stream.next(soon()).expect("the end"), Next::EndOfFile);
        stream.finish().expect("finish");
        assert!(stream.wait().expect("a receipt").bytes() >= (LEN + FRAME) as u64);
    }
}

/// Records with `camera`, and reads the file: each frame is in it, whole and in its place, or
/// dropped. Returns the numbers of the dropped ones.
pub fn record(client: &Client, path: &Path, camera: &Camera, frames: u64) -> Vec<u64> {
    let recorded = recorder::record(client, path, camera, frames);
    let Recording { dropped, receipt } = recorded.unwrap_or_else(|error| panic!("{error}"));
    let content = fs::read(path).expect("read");
    assert_eq!(content.len() as u64, receipt.bytes());
    let mut numbers = Vec::new();
    for frame in content.chunks(camera.frame_bytes as usize) {
        let (number, picture) = frame.split_first_chunk().expect("a frame");
        let number = u64::from_le_bytes(*number);
        assert!(picture.iter().all(|byte| *byte == number as u8), "frame {number} differs");
        numbers.push(number);
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    numbers.extend(&dropped);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..frames), "{dropped:?}");
    dropped
}

#[test]
fn recorder_in_the_examples_names_every_frame_that_is_not_in_the_file() {
    let fixture = Fixture::new();
    // Faster than disks, so that some are dropped.
    let camera = Camera { frame_bytes: 1 << 20, period: Duration::from_micros(10), buffers: 2 };
    let dropped = record(&client(&fixture), &fixture.dir.path().join("video"), &camera, 50);
    println!("dropped {dropped:?}");
}

#[test]
fn frames_are_in_the_file_in_the_order_of_their_submission() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    let own: Vec<Buffer> =
        (0..4).map(|_| client.allocate(FRAME as u64, "own").expect("one")).collect();
    let fds: Vec<_> = own.iter().map(Buffer::as_fd).collect();
    let cases = [
        (Ring::Allocate(3), Durability::Full, FRAME),
        (Ring::Own(&fds), Durability::None, FRAME - 1),
        (Ring::Own(&fds), Durability::Data, 65_536),
    ];
    for (ring, durability, most) in cases {
        let path = fixture.dir.path().join("written");
        let file = File::create(&path).expect("create");
        let request = StreamRequest::new(file.as_fd(), Way::Save, most as u64, ring);
        let mut stream =
            client.open_stream(&StreamRequest { durability, ..request }).expect("a stream");
        let mut expected = Vec::new();
        for number in 0..20 {
            let (index, frame) = buffer_for(&mut stream);
            assert_eq!(frame, number);
            // One frame is shorter, one is a single byte.
            let len = [most, most / 2, 1][number as usize % 3];
            let bytes = Random::new(number).bytes(len);
            let buffers = if stream.buffers().is_empty() { &own } else { stream.buffers() };
            buffers[index].write(0, &bytes).expect("fill the buffer");
            stream.submit(index, 0, len as u64, 1000 + number as i64).expect("submit");
            expected.extend(bytes);
        }
        // One more buffer, which stays unused.
        let (index, _) = buffer_for(&mut stream);
        stream.release(index).expect("release");
        stream.finish().expect("finish");
        let error = stream.acquire(soon()).expect_err("it is finished");
        assert!(error.to_string().starts_with("the stream was finished"), "{error}");
        assert_eq!(error.kind(), Some(ErrorKind::InvalidRequest));
        let start = Instant::now();
        let progress = loop {
            let progress = stream.progress().expect("progress");
            if progress.ended {
                break progress;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{progress:?}");
            sleep(Duration::from_millis(2));
        };
        assert_eq!((progress.frames, progress.timestamp_nanos), (20, 1019));
        assert_eq!(stream.dropped(), 0);
        let receipt = stream.wait().expect("a receipt");
        assert_eq!(receipt.bytes(), expected.len() as u64);
        assert!(fs::read(&path).expect("read") == expected, "the file differs");
    }
}

#[test]
fn frame_without_a_free_buffer_is_dropped_at_its_deadline() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    let file = File::create(fixture.dir.path().join("drops")).expect("create");
    let request = StreamRequest::new(file.as_fd(), Way::Save, 4096, Ring::Allocate(2));
    let mut stream = client.open_stream(&request).expect("a stream");
    let (first, _) = buffer_for(&mut stream);
    let (second, _) = buffer_for(&mut stream);
    assert_ne!(first, second);
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(stream.acquire(Some(deadline)).expect("an answer"), Acquired::Dropped { frame: 2 });
    assert!(Instant::now() >= deadline);
    let past = stream.acquire(Some(deadline)).expect("an answer");
    assert_eq!((past, stream.dropped()), (Acquired::Dropped { frame: 3 }, 2));
    stream.submit(second, 0, 4096, 0).expect("submit");
    assert_eq!(buffer_for(&mut stream), (second, 4));
    // A reader waits in the same way.
    let (path, _) = fixture.file("waits", 3 * 4096);
    let file = File::open(path).expect("open");
    let request = StreamRequest::new(file.as_fd(), Way::Load, 4096, Ring::Allocate(2));
    let mut stream = client.open_stream(&request).expect("a stream");
    let frames = [next_frame(&mut stream), next_frame(&mut stream)];
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(stream.next(Some(deadline)).expect("an answer"), Next::TimedOut);
    assert!(Instant::now() >= deadline);
    stream.release(frames[0].index).expect("release");
    assert_eq!(next_frame(&mut stream).index, frames[0].index);
}

/// A valid request of the interface to read a file of [`LEN`] bytes.
fn valid(fixture: &Fixture) -> Request {
    let (path, _) = fixture.file("valid", LEN);
    Request {
        file: Some(pfd(File::open(path).expect("open").into())),
        frameBytes: 4096,
        bufferCount: 2,
        ..Default::default()
    }
}

fn open(fixture: &Fixture, request: &Request) -> Strong<dyn IBufferStream> {
    let stream = fixture.service.openStream(request, &[]);
    stream.unwrap_or_else(|status| panic!("{}", describe(&status)))
}

#[test]
fn malformed_streams_are_refused() {
    let fixture = Fixture::new();
    let (reader, _writer) = pipe().expect("pipe");
    let valid = || valid(&fixture);
    let most = i64::MAX;
    let cases = [
        (Request { bufferCount: 0, ..valid() }, "ring: 0 buffers passed and bufferCount=0"),
        (Request { bufferCount: 33, ..valid() }, "ring: 0 buffers passed and bufferCount=33"),
        (Request { bufferCount: -1, ..valid() }, "ring: 0 buffers passed and bufferCount=-1"),
        (Request { bufferCount: i32::MIN, ..valid() }, "ring: "),
        (Request { frameBytes: 0, ..valid() }, "size=0"),
        (Request { frameBytes: -1, ..valid() }, "frameBytes=-1"),
        (Request { frameBytes: most, ..valid() }, "size=9223372036854775807"),
        (Request { offset: -1, ..valid() }, "offset=-1"),
        (Request { direction: Direction(7), ..valid() }, "direction=7"),
        (Request { durability: Durable::FULL, ..valid() }, "durability=Full: a stream that reads"),
        (Request { direction: Direction::SAVE, ..valid() }, "file: read-only"),
        (Request { tag: "\n".to_owned(), ..valid() }, "tag: "),
        (Request { file: Some(pfd(reader)), ..valid() }, "file: a pipe"),
    ];
    for (request, message) in cases {
        let status = fixture.service.openStream(&request, &[]).map(drop).expect_err(message);
        expect(&status, ex::ILLEGAL_ARGUMENT, message);
    }
    let passed = |fds: Vec<ParcelFileDescriptor>, count, message: &str| {
        let request = Request { bufferCount: count, frameBytes: 4097, ..valid() };
        let status = fixture.service.openStream(&request, &fds).map(drop).expect_err(message);
        expect(&status, ex::ILLEGAL_ARGUMENT, message);
    };
    let small = || pfd(duplicate(&fixture.allocate(4096).fd));
    let large = || pfd(duplicate(&fixture.allocate(8192).fd));
    passed(vec![large()], 1, "ring: 1 buffers passed and bufferCount=1");
    passed((0..33).map(|_| large()).collect(), 0, "ring: 33 buffers passed");
    passed(vec![large(), small()], 0, "item 1: buffer: 4096 bytes, less than frameBytes=4097");
    let (reader, _writer) = pipe().expect("pipe");
    passed(vec![large(), large(), pfd(reader)], 0, "item 2: buffer: not a dma-buf");
}

#[test]
fn calls_that_make_no_sense_change_nothing() {
    let fixture = Fixture::new();
    let reads = open(&fixture, &valid(&fixture));
    let file = File::create(fixture.dir.path().join("hostile")).expect("create");
    let request =
        Request { file: Some(pfd(file.into())), direction: Direction::SAVE, ..valid(&fixture) };
    let writes = open(&fixture, &request);
    let index = writes.acquire().expect("a buffer");
    let illegal = |result: Result<(), binder_shim::Status>, message: &str| {
        expect(&result.expect_err(message), ex::ILLEGAL_ARGUMENT, message);
    };
    for wrong in [index + 1, 2, -1, i32::MIN, i32::MAX] {
        illegal(writes.submit(wrong, 0, 1, 0), &format!("index={wrong}: the client does not hold"));
        illegal(writes.release(wrong), &format!("index={wrong}: the client does not hold"));
        illegal(reads.release(wrong), &format!("index={wrong}: the client does not hold"));
    }
    illegal(writes.submit(index, 0, 0, 0), "length=0: not between 1 and 4096 bytes");
    illegal(writes.submit(index, 0, 4097, 0), "length=4097: not between 1 and 4096 bytes");
    illegal(writes.submit(index, 0, -1, 0), "length=-1");
    illegal(writes.submit(index, -1, 1, 0), "bufferOffset=-1");
    illegal(
        writes.submit(index, i64::MAX, 1, 0),
        "bufferOffset=9223372036854775807 length=1: ends",
    );
    illegal(writes.submit(index, 4096, 1, 0), "bufferOffset=4096 length=1: ends beyond the buffer");
    illegal(writes.seek(0), "the stream writes");
    illegal(writes.next().map(drop), "the stream writes");
    illegal(reads.acquire().map(drop), "the stream reads");
    illegal(reads.submit(0, 0, 1, 0), "the stream reads");
    illegal(reads.seek(-1), "offset=-1");
    writes.submit(index, 0, 4096, i64::MIN).expect("submit");
    illegal(writes.submit(index, 0, 4096, 0), &format!("index={index}: the client does not hold"));
    illegal(writes.release(index), &format!("index={index}: the client does not hold"));
    let status = writes.getResult().expect_err("it runs");
    assert_eq!(status.service_specific_error(), Code::BUSY.0, "{}", describe(&status));
    reads.seek(i64::MAX).expect("as far as a file can be");
    writes.finish().expect("finish");
    writes.finish().expect("finish again");
    let start = Instant::now();
    while !writes.getProgress().expect("progress").ended {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        sleep(Duration::from_millis(2));
    }
    assert_eq!(writes.getResult().expect("a receipt").bytes, 4096);
}

#[test]
fn first_error_ends_the_stream_and_names_the_frame() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    // A file that cannot grow: two frames fit.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("full", flags).expect("memfd"));
    file.set_len(8192).expect("resize");
    fcntl_add_seals(&file, SealFlags::GROW).expect("seal");
    let request = StreamRequest::new(file.as_fd(), Way::Save, 4096, Ring::Allocate(4));
    let mut stream = client.open_stream(&request).expect("a stream");
    for number in 0..4 {
        // The error may come while others are still being submitted.
        let submitted = match stream.acquire(soon()) {
            Ok(Acquired::Buffer { index, .. }) => stream.submit(index, 0, 4096, number),
            other => other.map(drop),
        };
        if submitted.is_err() {
            assert!(number > 2, "frame {number}: too early");
            break;
        }
    }
    let start = Instant::now();
    while !stream.progress().expect("progress").ended {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        sleep(Duration::from_millis(2));
    }
    let message = "frame 2: file_offset=8192: extent 0: ";
    let error = stream.acquire(soon()).expect_err("it has failed");
    assert!(error.to_string().starts_with(message), "{error}");
    assert_eq!(error.kind(), Some(ErrorKind::PermissionDenied), "{error}");
    assert_eq!(stream.progress().expect("progress").frames, 2);
    let again = stream.wait().expect_err("it has failed");
    assert_eq!(again.to_string(), error.to_string());
    // Reading: a memfd has no direct I/O.
    let request = StreamRequest::new(file.as_fd(), Way::Load, 4096, Ring::Allocate(4));
    let request = StreamRequest { mode: Mode::Direct, ..request };
    let mut stream = client.open_stream(&request).expect("a stream");
    let error = stream.next(soon()).expect_err("not direct");
    assert!(error.to_string().starts_with("frame 0: file_offset=0: "), "{error}");
    assert_eq!(error.kind(), Some(ErrorKind::NotDirect), "{error}");
    assert_eq!(stream.seek(0).expect_err("it has failed").to_string(), error.to_string());
}

#[test]
fn fifth_stream_of_a_user_waits_for_another_to_be_dropped() {
    let fixture = Fixture::new();
    let mut held: Vec<_> = (0..4).map(|_| open(&fixture, &valid(&fixture))).collect();
    let status = fixture.service.openStream(&valid(&fixture), &[]).map(drop).expect_err("four");
    expect(&status, ex::SERVICE_SPECIFIC, "4 requests of this user are streams, 4 allowed");
    assert_eq!(status.service_specific_error(), Code::QUOTA_EXCEEDED.0);
    held.pop();
    let start = Instant::now();
    while fixture.service.openStream(&valid(&fixture), &[]).is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "the place is not free");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn dropped_stream_leaves_no_buffer_and_no_descriptor_behind() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    let (path, _) = fixture.file("leaks", LEN);
    let run = || {
        let file = File::options().read(true).write(true).open(&path).expect("open");
        for direction in [Way::Load, Way::Save] {
            let request = StreamRequest::new(file.as_fd(), direction, 65_536, Ring::Allocate(4));
            let mut stream = client.open_stream(&request).expect("a stream");
            match direction {
                Way::Load => drop(next_frame(&mut stream)),
                Way::Save => {
                    let (index, _) = buffer_for(&mut stream);
                    stream.submit(index, 0, 65_536, 0).expect("submit");
                }
            }
        }
    };
    run();
    fixture.held_buffers(0, &HashSet::new());
    let before = fixture.descriptors().len();
    (0..10).for_each(|_| run());
    let start = Instant::now();
    while fixture.descriptors().len() > before {
        let now = fixture.descriptors();
        assert!(start.elapsed() < Duration::from_secs(5), "{before} before: {now:?}");
        sleep(Duration::from_millis(10));
    }
    fixture.held_buffers(0, &HashSet::new());
}

#[test]
fn append_only_file_is_refused() {
    let fixture = Fixture::new();
    let (path, _) = fixture.file("append", LEN);
    let file = crate::support::open(&path, OFlags::WRONLY | OFlags::APPEND);
    let request =
        Request { file: Some(pfd(file.into())), direction: Direction::SAVE, ..valid(&fixture) };
    let status = fixture.service.openStream(&request, &[]).map(drop).expect_err("append");
    expect(&status, ex::ILLEGAL_ARGUMENT, "file: O_APPEND");
}

#[test]
fn local_client_says_that_it_has_no_service() {
    let client = Client::local(Heap::Memfd).expect("a client");
    let file = File::open("/proc/self/exe").expect("open");
    let request = StreamRequest::new(file.as_fd(), Way::Load, 4096, Ring::Allocate(1));
    let error = client.open_stream(&request).map(drop).expect_err("local");
    assert_eq!(error.kind(), Some(ErrorKind::Unsupported));
    assert!(error.to_string().starts_with("stream: there is no service"), "{error}");
}

use super::*;
use crate::admission::{Admission, Class, Lasting};
use crate::quota::Quota;
use binder_shim::Lifetime;
use dmabufio_core::extent::Direction;
use ring::{Next, Shape};
use rustix::io::{read, Errno};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LEN: u64 = 100;

/// A stream of so many buffers that reads.
fn stream(admission: &Admission, buffers: usize) -> Arc<Stream> {
    let place = admission.enter_lasting(1, Lasting::Stream, Class::Ordinary).expect("room");
    let (direction, sizes) = (Direction::Load, vec![LEN; buffers]);
    let shape = Shape { direction, sizes, frame_bytes: LEN, offset: 0, align: 4096, depth: 2 };
    Arc::new(Stream::new(place, Ring::new(shape)).expect("a pipe"))
}

/// A stream of two buffers that reads, and moves a frame whenever it is told to.
fn start(admission: &Admission) -> (Arc<Stream>, Sender<()>) {
    let stream = stream(admission, 2);
    let (go, frames) = channel();
    let frames = Mutex::new(frames);
    let work = move |mover: &Mover<'_>, admitted: &Admitted<'_>| {
        while let Some(action) = mover.next_action() {
            let moved = frames.lock().expect("no panic").recv();
            let moved = moved.map(|()| Receipt { direct: LEN, ..Default::default() });
            let moved = moved.map_err(|_| Error::new(ErrorKind::Io, "file: broken"));
            mover.finish_action(action, admitted.progress(0).and(moved));
        }
    };
    stream.start(work).expect("a thread");
    (stream, go)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(1));
    }
}

/// What a client reads from the readiness: `Some(0)` is a hang-up.
fn heard(stream: &Stream) -> Option<usize> {
    match read(stream.readiness(), &mut [0; 16]) {
        Ok(count) => Some(count),
        Err(Errno::AGAIN) => None,
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn readiness_rings_once_when_a_frame_is_ready_and_hangs_up_at_the_end() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, go) = start(&admission);
    assert_eq!(heard(&stream), None);
    go.send(()).expect("it runs");
    wait_until("a frame", || heard(&stream) == Some(1));
    go.send(()).expect("it runs");
    wait_until("both frames", || stream.with_ring(|ring| ring.progress().frames) == 2);
    assert_eq!(heard(&stream), None, "the client has not asked since");
    for _ in 0..2 {
        assert!(matches!(stream.with_ring(Ring::next), Ok(Next::Frame(_))));
    }
    assert_eq!(stream.with_ring(Ring::next).expect_err("none").kind(), ErrorKind::Busy);
    assert_eq!(stream.result().expect_err("it runs").kind(), ErrorKind::Busy);
    drop(go);
    stream.with_ring(|ring| ring.release(0)).expect("a buffer");
    wait_until("the end", || heard(&stream).is_some());
    wait_until("a hang-up", || heard(&stream) == Some(0));
    let error = stream.result().expect_err("it failed");
    assert_eq!(error.to_string(), "frame 2: file_offset=200: file: broken");
}

#[test]
fn dropped_stream_ends_and_frees_its_place() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, go) = start(&admission);
    assert_eq!(admission.counts().streams, 1);
    assert_eq!(
        admission.in_flight().iter().map(|flight| flight.call).collect::<Vec<_>>(),
        ["stream"]
    );
    stream.end();
    drop(stream);
    assert_eq!(admission.counts().streams, 1, "two frames are in flight");
    go.send(()).and_then(|()| go.send(())).expect("it runs");
    wait_until("the place is free", || admission.counts().streams == 0);
}

#[test]
fn stream_that_waits_for_its_client_ends_when_it_is_dropped() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, go) = start(&admission);
    go.send(()).and_then(|()| go.send(())).expect("it runs");
    wait_until("the ring is full", || stream.with_ring(|ring| ring.progress().frames) == 2);
    stream.end();
    drop(stream);
    wait_until("the place is free", || admission.counts().streams == 0);
}

#[test]
fn full_pipe_stops_nobody() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, go) = start(&admission);
    // A client can open the other end of its descriptor.
    let state = stream.lock();
    while write(state.bell.as_ref().expect("the bell"), &[0; 4096]).is_ok() {}
    drop(state);
    go.send(()).expect("it runs");
    wait_until("a frame", || stream.with_ring(|ring| ring.progress().frames) == 1);
}

/// A frame that a thread of a stream moves, until it is told how that ends.
type InFlight = (Frame, Sender<Result<Receipt>>);

/// A stream of four buffers that reads, and the frames that it begins to move.
fn start_by_hand(admission: &Admission) -> (Arc<Stream>, Receiver<InFlight>) {
    let stream = stream(admission, 4);
    let (begun, frames) = channel();
    let work = move |mover: &Mover<'_>, admitted: &Admitted<'_>| {
        while let Some(action) = mover.next_action() {
            let Action::Move(frame) = action else { panic!("a stream that reads") };
            let (end, ended) = channel();
            begun.send((frame, end)).expect("a test");
            let result = loop {
                // A transfer asks so before each piece.
                if let Err(error) = admitted.progress(0) {
                    break Err(error);
                }
                if let Ok(result) = ended.recv_timeout(Duration::from_millis(1)) {
                    break result;
                }
            };
            mover.finish_action(action, result);
        }
    };
    stream.start(work).expect("threads");
    (stream, frames)
}

/// The next two frames that move, in the order of the file.
fn two(frames: &Receiver<InFlight>) -> (InFlight, InFlight) {
    let next = || frames.recv_timeout(Duration::from_secs(10)).expect("a frame moves");
    let (one, other) = (next(), next());
    if one.0.number < other.0.number {
        (one, other)
    } else {
        (other, one)
    }
}

fn whole() -> Result<Receipt> {
    Ok(Receipt { direct: LEN, ..Default::default() })
}

#[test]
fn two_frames_move_at_a_time_and_reach_the_client_in_order() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, frames) = start_by_hand(&admission);
    let (first, second) = two(&frames);
    assert_eq!((first.0.number, second.0.number), (0, 1));
    second.1.send(whole()).expect("it moves");
    let (third, third_end) = frames.recv_timeout(Duration::from_secs(10)).expect("it goes on");
    assert_eq!(third.number, 2);
    assert_eq!(stream.with_ring(Ring::next).expect_err("not yet").kind(), ErrorKind::Busy);
    assert_eq!(heard(&stream), None);
    first.1.send(whole()).expect("it moves");
    wait_until("a bell", || heard(&stream) == Some(1));
    for number in 0..2 {
        let Ok(Next::Frame(frame)) = stream.with_ring(Ring::next) else { panic!("{number}") };
        assert_eq!(frame.number, number);
    }
    third_end.send(whole()).expect("it moves");
    stream.end();
}

#[test]
fn error_of_the_second_frame_in_flight_ends_the_stream_after_the_first() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, frames) = start_by_hand(&admission);
    let (first, second) = two(&frames);
    second.1.send(Err(Error::new(ErrorKind::Io, "file: broken"))).expect("it moves");
    sleep(Duration::from_millis(20));
    assert_eq!(stream.with_ring(Ring::next).expect_err("not yet").kind(), ErrorKind::Busy);
    first.1.send(whole()).expect("somebody wants it");
    wait_until("a bell", || heard(&stream) == Some(1));
    assert!(matches!(stream.with_ring(Ring::next), Ok(Next::Frame(_))));
    wait_until("a hang-up", || heard(&stream) == Some(0));
    let error = stream.result().expect_err("it failed");
    assert_eq!(error.to_string(), "frame 1: file_offset=100: file: broken");
    assert!(frames.try_recv().is_err(), "nothing is read behind an error");
    assert!(admission.in_flight().is_empty() && admission.counts().streams == 1);
}

#[test]
fn seek_ends_both_frames_in_flight_and_goes_on_elsewhere() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (stream, frames) = start_by_hand(&admission);
    let (first, second) = two(&frames);
    stream.with_ring(|ring| ring.seek(7000)).expect("it is open");
    let (third, fourth) = two(&frames);
    assert_eq!((third.0.file_offset, fourth.0.file_offset), (7000, 7100));
    assert!(first.1.send(whole()).is_err() && second.1.send(whole()).is_err(), "they have ended");
    third.1.send(whole()).and_then(|()| fourth.1.send(whole())).expect("they move");
    wait_until("both", || stream.with_ring(|ring| ring.progress().frames) == 2);
    let Ok(Next::Frame(frame)) = stream.with_ring(Ring::next) else { panic!("it is ready") };
    assert_eq!((frame.number, frame.file_offset), (0, 7000));
    stream.end();
}

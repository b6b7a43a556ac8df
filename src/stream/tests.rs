use super::*;
use crate::admission::{Admission, Class, Lasting};
use crate::quota::Quota;
use binder_shim::Lifetime;
use dmabufio_core::extent::Direction;
use ring::{Next, Shape};
use rustix::io::{read, Errno};
use std::sync::mpsc::{channel, Sender};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LEN: u64 = 100;

/// A stream of two buffers that reads, and moves a frame whenever it is told to.
fn start(admission: &Admission) -> (Arc<Stream>, Sender<()>) {
    let place = admission.enter_lasting(1, Lasting::Stream, Class::Ordinary).expect("room");
    let direction = Direction::Load;
    let shape = Shape { direction, sizes: vec![LEN; 2], frame_bytes: LEN, offset: 0, align: 4096 };
    let stream = Arc::new(Stream::new(place, Ring::new(shape)).expect("a pipe"));
    let (go, frames) = channel();
    let work = move |stream: &Stream, admitted: &Admitted<'_>| {
        while let Some(action) = stream.next_action() {
            let moved = frames.recv().map(|()| Receipt { direct: LEN, ..Default::default() });
            let moved = moved.map_err(|_| Error::new(ErrorKind::Io, "file: broken"));
            stream.finish_action(action, admitted.progress(0).and(moved));
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
    assert_eq!(admission.counts().streams, 1, "a frame is in flight");
    go.send(()).expect("it runs");
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

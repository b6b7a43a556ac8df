use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BUFFERS: usize = 3;
const FRAME: u64 = 10_000;

fn ring(direction: Direction, offset: u64) -> Ring {
    let sizes = vec![FRAME + 4096; BUFFERS];
    Ring::new(Shape { direction, sizes, frame_bytes: FRAME, offset, align: 4096 })
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "file: broken")
}

/// What a client or the service does. The numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Work,
    Done,
    Fail,
    /// `next` or `acquire`.
    Take,
    /// `release` or `submit`.
    Give(i32),
    Release(i32),
    Seek(u64),
    Finish,
}

fn steps(rare: u32) -> impl Strategy<Value = Vec<Step>> {
    let index = -1..BUFFERS as i32 + 1;
    let step = prop_oneof![
        8 => Just(Step::Work),
        8 => Just(Step::Done),
        8 => Just(Step::Take),
        8 => index.clone().prop_map(Step::Give),
        2 => index.prop_map(Step::Release),
        rare => (0..12 * FRAME).prop_map(Step::Seek),
        rare => Just(Step::Fail),
        rare => Just(Step::Finish),
    ];
    prop::collection::vec(step, 1..300)
}

/// The bell of a client: it must ring once after the client found nothing, and only then.
#[derive(Debug)]
struct Bell {
    waits: bool,
}

impl Bell {
    fn check(&mut self, ring: &mut Ring, ready: bool) {
        assert_eq!(ring.takes_bell(), self.waits && ready, "waits: {}", self.waits);
        self.waits &= !ready;
    }
}

/// Runs a stream that reads a file of `file` bytes, beside a model of it.
fn read(file: u64, steps: &[Step]) {
    let mut ring = ring(Direction::Load, 0);
    let mut bell = Bell { waits: true };
    // Where the client is, how many frames it has had, and which buffers it holds.
    let (mut cursor, mut number, mut held) = (0, 0, BTreeSet::new());
    let (mut ready, mut moving, mut stale, mut at_end) = (0, None::<Frame>, false, false);
    let mut ended: Option<bool> = None;
    for step in steps {
        match *step {
            Step::Work if moving.is_none() => {
                let free = BUFFERS - held.len() - ready;
                match ring.work() {
                    Work::Move(frame) => {
                        assert!(free > 0 && !at_end && ended.is_none());
                        assert!(!held.contains(&(frame.index as i32)), "the client has it");
                        assert_eq!(frame.buffer_offset, frame.file_offset % 4096);
                        moving = Some(frame);
                    }
                    Work::Wait => assert!((free == 0 || at_end) && ended.is_none()),
                    Work::End => assert!(ended.is_some()),
                    Work::Sync => panic!("there is nothing to sync"),
                }
            }
            Step::Done => {
                if let Some(frame) = moving.take() {
                    let len = frame.len.min(file.saturating_sub(frame.file_offset));
                    ring.moved(len, 7);
                    if !stale && ended.is_none() {
                        ready += usize::from(len > 0);
                        at_end = len < FRAME;
                    }
                    stale = false;
                }
            }
            Step::Fail => {
                if moving.take().is_some() {
                    ring.fail(broken());
                    ended = if stale { ended } else { ended.or(Some(false)) };
                    stale = false;
                }
            }
            Step::Take => match ring.next() {
                Ok(Next::Frame(frame)) => {
                    assert!(ready > 0);
                    let len = FRAME.min(file - cursor);
                    let found = (frame.file_offset, frame.len, frame.number, frame.timestamp);
                    assert_eq!(found, (cursor, len, number, 7));
                    assert!(held.insert(frame.index as i32), "handed out twice");
                    (cursor, number, ready) = (cursor + len, number + 1, ready - 1);
                }
                Ok(Next::EndOfFile) => {
                    assert!(ready == 0 && (at_end && cursor >= file || ended == Some(true)));
                }
                Err(error) if error.kind() == ErrorKind::Busy => {
                    assert!(ready == 0 && !at_end && ended.is_none());
                    bell.waits = true;
                }
                Err(error) => {
                    assert!(ready == 0 && ended == Some(false), "{error}");
                    let place = format!("file_offset={}: file: broken", cursor);
                    assert_eq!(error.to_string(), format!("frame {number}: {place}"));
                }
            },
            Step::Give(index) | Step::Release(index) => {
                assert_eq!(ring.release(index).is_ok(), held.remove(&index), "{index}");
            }
            Step::Seek(offset) => {
                assert_eq!(ring.seek(offset).is_ok(), ended.is_none());
                if ended.is_none() {
                    (cursor, ready, at_end, stale) = (offset, 0, false, moving.is_some());
                }
            }
            Step::Finish => {
                ring.finish();
                if ended.is_none() {
                    (ended, ready) = (Some(true), 0);
                }
            }
            Step::Work => {}
        }
        assert_eq!(ring.has_ended(), ended.is_some() && moving.is_none());
        bell.check(&mut ring, ready > 0 || at_end || ended.is_some());
    }
}

/// Runs a stream that writes, beside a model of it.
fn write(steps: &[Step]) {
    let mut ring = ring(Direction::Save, 5);
    let mut bell = Bell { waits: true };
    let (mut held, mut queue, mut written) = (BTreeSet::new(), VecDeque::new(), Vec::new());
    let (mut moving, mut finished, mut ended) = (None::<Frame>, false, None::<bool>);
    let (mut position, mut number) = (5, 0);
    for (time, step) in (0_i64..).zip(steps) {
        let open = !finished && ended.is_none();
        match *step {
            Step::Work if moving.is_none() => match ring.work() {
                Work::Move(frame) => {
                    assert_eq!(Some(frame), queue.pop_front(), "out of order");
                    moving = Some(frame);
                }
                Work::Wait => assert!(queue.is_empty() && open),
                Work::Sync => {
                    assert!(queue.is_empty() && finished && ended.is_none());
                    ring.synced();
                    ended = Some(true);
                }
                Work::End => assert!(ended.is_some()),
            },
            Step::Done => {
                if let Some(frame) = moving.take() {
                    ring.moved(frame.len, 7);
                    written.push(frame);
                }
            }
            Step::Fail => {
                if let Some(frame) = moving.take() {
                    ring.fail(broken());
                    ended = Some(false);
                    queue.clear();
                    let error = ring.outcome().expect_err("it has failed").to_string();
                    let place = format!("file_offset={}", frame.file_offset);
                    assert_eq!(error, format!("frame {}: {place}: file: broken", frame.number));
                }
            }
            Step::Take => {
                let used = held.len() + queue.len() + usize::from(moving.is_some());
                match ring.acquire() {
                    Ok(index) => {
                        assert!(open && used < BUFFERS);
                        assert!(held.insert(index as i32), "handed out twice");
                    }
                    Err(error) if error.kind() == ErrorKind::Busy => {
                        assert!(open && used == BUFFERS);
                        bell.waits = true;
                    }
                    Err(_) => assert!(!open),
                }
            }
            Step::Give(index) => {
                let len = 1 + time as u64 % FRAME;
                let done = ring.submit(index, 3, len, time);
                assert_eq!(done.is_ok(), open && held.contains(&index), "{done:?}");
                if done.is_ok() {
                    held.remove(&index);
                    queue.push_back(Frame {
                        index: index as usize,
                        number,
                        file_offset: position,
                        buffer_offset: 3,
                        len,
                        timestamp: time,
                    });
                    (position, number) = (position + len, number + 1);
                }
            }
            Step::Release(index) => {
                assert_eq!(ring.release(index).is_ok(), held.remove(&index), "{index}");
            }
            Step::Seek(offset) => assert!(ring.seek(offset).is_err() && ring.next().is_err()),
            Step::Finish => {
                ring.finish();
                finished = true;
            }
            Step::Work => {}
        }
        let bytes = written.iter().map(|frame| frame.len).sum();
        let timestamp = written.last().map_or(0, |frame| frame.timestamp);
        let expected = Moved { frames: written.len() as u64, bytes, timestamp };
        assert_eq!(ring.progress(), expected);
        let used = held.len() + queue.len() + usize::from(moving.is_some());
        bell.check(&mut ring, used < BUFFERS || ended.is_some());
        assert_eq!(ring.has_ended(), ended.is_some() && moving.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn reading_agrees_with_a_model(file in 0..11 * FRAME, steps in steps(1)) {
        read(file, &steps);
    }

    #[test]
    fn writing_agrees_with_a_model(steps in steps(1)) {
        write(&steps);
    }
}

#[test]
fn slow_consumer_stops_the_reading() {
    let mut ring = ring(Direction::Load, 0);
    for _ in 0..BUFFERS {
        assert!(matches!(ring.work(), Work::Move(_)));
        ring.moved(FRAME, 0);
    }
    assert_eq!(ring.work(), Work::Wait);
    let Ok(Next::Frame(frame)) = ring.next() else { panic!("a frame is ready") };
    assert_eq!(ring.work(), Work::Wait, "the client holds the buffer");
    ring.release(frame.index as i32).expect("the client holds it");
    assert!(matches!(ring.work(), Work::Move(Frame { number: 3, .. })));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let kind = |result: Result<()>| result.expect_err("an error").kind();
    let mut ring = ring(Direction::Save, i64::MAX as u64 - 5000);
    let index = ring.acquire().expect("a buffer") as i32;
    for (offset, len) in [(0, 0), (0, FRAME + 1), (0, u64::MAX), (u64::MAX, 1), (14_096, 1)] {
        assert_eq!(kind(ring.submit(index, offset, len, 0)), ErrorKind::InvalidRequest);
    }
    let error = ring.submit(index, 0, 5001, 0).expect_err("beyond 63 bits").to_string();
    assert!(error.contains("would end beyond 63 bits"), "{error}");
    for wrong in [index + 1, -1, i32::MIN, i32::MAX] {
        assert_eq!(kind(ring.submit(wrong, 0, 1, 0)), ErrorKind::InvalidRequest);
        assert_eq!(kind(ring.release(wrong)), ErrorKind::InvalidRequest);
    }
    ring.submit(index, 14_095, 1, i64::MIN).expect("the last byte of the buffer");
    assert_eq!(kind(ring.release(index)), ErrorKind::InvalidRequest, "it is submitted");
}

#[test]
fn file_at_the_largest_offset_has_an_end() {
    let mut ring = ring(Direction::Load, i64::MAX as u64 - 5);
    assert!(matches!(ring.work(), Work::Move(Frame { len: 5, .. })));
    ring.moved(5, 0);
    assert_eq!(ring.work(), Work::Wait);
    assert!(matches!(ring.next(), Ok(Next::Frame(Frame { len: 5, .. }))));
    assert_eq!(ring.next(), Ok(Next::EndOfFile));
}

#[test]
fn frame_stays_at_the_start_of_a_buffer_without_room_to_shift_it() {
    let shape = Shape {
        direction: Direction::Load,
        sizes: vec![FRAME; 2],
        frame_bytes: FRAME,
        offset: 100,
        align: 4096,
    };
    let mut ring = Ring::new(shape);
    assert!(matches!(ring.work(), Work::Move(Frame { buffer_offset: 0, file_offset: 100, .. })));
}

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BUFFERS: usize = 3;
const FRAME: u64 = 10_000;

fn ring(direction: Direction, offset: u64, depth: usize) -> Ring {
    let sizes = vec![FRAME + 4096; BUFFERS];
    Ring::new(Shape { direction, sizes, frame_bytes: FRAME, offset, align: 4096, depth })
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "file: broken")
}

/// What a client or the service does. The numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Work,
    /// Of one of those that move.
    Done(usize),
    Fail(usize),
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
        8 => any::<usize>().prop_map(Step::Done),
        8 => Just(Step::Take),
        8 => index.clone().prop_map(Step::Give),
        2 => index.prop_map(Step::Release),
        rare => (0..12 * FRAME).prop_map(Step::Seek),
        rare => any::<usize>().prop_map(Step::Fail),
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

/// What has become of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Moving,
    Done(u64),
    Failed,
}

/// What follows the frames that the client may have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Follows {
    More,
    EndOfFile,
    Error,
}

/// The frames that the client may have, and what follows them, of frames in the order of the file.
fn visible(frames: &[(Frame, Outcome)]) -> (usize, Follows) {
    for (i, (_, outcome)) in frames.iter().enumerate() {
        match *outcome {
            Outcome::Moving => return (i, Follows::More),
            Outcome::Failed => return (i, Follows::Error),
            Outcome::Done(FRAME) => {}
            Outcome::Done(len) => return (i + usize::from(len > 0), Follows::EndOfFile),
        }
    }
    (frames.len(), Follows::More)
}

/// Runs a stream that reads a file of `file` bytes, beside a model of it that forgets nothing.
fn read(file: u64, depth: usize, steps: &[Step]) {
    let mut ring = ring(Direction::Load, 0, depth);
    let mut bell = Bell { waits: true };
    // Where the client is, how many frames it has had, and which buffers it holds.
    let (mut cursor, mut number, mut held) = (0, 0, BTreeSet::new());
    // All frames since the last seek, how many of them the client has had, and all that move.
    let (mut frames, mut taken, mut moving) = (Vec::new(), 0, Vec::<Frame>::new());
    let mut position = 0;
    let mut ended: Option<bool> = None;
    for step in steps {
        let (complete, follows) = visible(&frames);
        let ready = complete - taken;
        match *step {
            Step::Work => {
                let stop = frames.iter().position(|(_, outcome)| {
                    !matches!(outcome, Outcome::Moving | Outcome::Done(FRAME))
                });
                // Of the frames behind the end or an error, those count that still move.
                let kept = &frames[..stop.map_or(frames.len(), |stop| stop + 1)];
                let at_rest = kept.iter().skip(taken);
                let at_rest =
                    at_rest.filter(|(_, o)| !matches!(o, Outcome::Moving | Outcome::Done(0)));
                let free = BUFFERS - held.len() - moving.len() - at_rest.count();
                match ring.work() {
                    Work::Move(frame) => {
                        assert!(free > 0 && moving.len() < depth);
                        assert!(stop.is_none() && ended.is_none());
                        assert!(!held.contains(&(frame.index as i32)), "the client has it");
                        assert!(moving.iter().all(|other| other.index != frame.index));
                        assert_eq!(frame.file_offset, position);
                        assert_eq!(frame.buffer_offset, frame.file_offset % 4096);
                        position += frame.len;
                        frames.push((frame, Outcome::Moving));
                        moving.push(frame);
                    }
                    Work::Wait => {
                        assert!(free == 0 || stop.is_some() || moving.len() == depth);
                        assert!(ended.is_none());
                    }
                    Work::End => assert!(ended.is_some()),
                    Work::Sync => panic!("there is nothing to sync"),
                }
            }
            Step::Done(which) | Step::Fail(which) if !moving.is_empty() => {
                let frame = moving.remove(which % moving.len());
                assert_eq!(ring.is_wanted(frame.index), is_wanted(&frames, frame, ended));
                let outcome = if matches!(step, Step::Done(_)) {
                    let len = frame.len.min(file.saturating_sub(frame.file_offset));
                    ring.moved(frame.index, len, 7);
                    Outcome::Done(len)
                } else {
                    ring.fail(frame.index, broken(), 7);
                    Outcome::Failed
                };
                if let Some(entry) = frames.iter_mut().find(|e| **e == (frame, Outcome::Moving)) {
                    entry.1 = outcome;
                }
                if visible(&frames).1 == Follows::Error {
                    ended = ended.or(Some(false));
                }
            }
            Step::Take => match ring.next() {
                Ok(Next::Frame(frame)) => {
                    assert!(ready > 0);
                    let len = FRAME.min(file - cursor);
                    let found = (frame.file_offset, frame.len, frame.number, frame.timestamp);
                    assert_eq!(found, (cursor, len, number, 7));
                    assert!(held.insert(frame.index as i32), "handed out twice");
                    (cursor, number, taken) = (cursor + len, number + 1, taken + 1);
                }
                Ok(Next::EndOfFile) => {
                    let end = follows == Follows::EndOfFile && cursor >= file;
                    assert!(ready == 0 && (end || ended == Some(true)));
                }
                Err(error) if error.kind() == ErrorKind::Busy => {
                    assert!(ready == 0 && follows == Follows::More && ended.is_none());
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
                    (cursor, position, taken) = (offset, offset, 0);
                    frames.clear();
                }
            }
            Step::Finish => {
                ring.finish();
                if ended.is_none() {
                    (ended, taken) = (Some(true), 0);
                    frames.clear();
                }
            }
            Step::Done(_) | Step::Fail(_) => {}
        }
        assert_eq!(ring.has_ended(), ended.is_some() && moving.is_empty());
        let (complete, follows) = visible(&frames);
        let ready = complete > taken || follows != Follows::More || ended.is_some();
        bell.check(&mut ring, ready);
    }
}

/// Whether somebody wants a frame that moves: those behind an error or the end nobody does.
fn is_wanted(frames: &[(Frame, Outcome)], frame: Frame, ended: Option<bool>) -> bool {
    let place = frames.iter().position(|entry| *entry == (frame, Outcome::Moving));
    let before = |place| &frames[..place];
    let complete =
        |(_, outcome): &(Frame, Outcome)| matches!(outcome, Outcome::Moving | Outcome::Done(FRAME));
    ended.is_none() && place.is_some_and(|place| before(place).iter().all(complete))
}

/// Runs a stream that writes, beside a model of it.
fn write(steps: &[Step]) {
    let mut ring = ring(Direction::Save, 5, 1);
    let mut bell = Bell { waits: true };
    let (mut held, mut queue, mut written) = (BTreeSet::new(), VecDeque::new(), Vec::new());
    let (mut moving, mut finished, mut ended) = (None::<Frame>, false, None::<bool>);
    let (mut position, mut number) = (5, 0);
    for (time, step) in (0_i64..).zip(steps) {
        let open = !finished && ended.is_none();
        match *step {
            Step::Work => match ring.work() {
                Work::Move(frame) => {
                    assert!(moving.is_none(), "one after the other");
                    assert_eq!(Some(frame), queue.pop_front(), "out of order");
                    moving = Some(frame);
                }
                Work::Wait => assert!(moving.is_some() || queue.is_empty() && open),
                Work::Sync => {
                    assert!(queue.is_empty() && moving.is_none() && finished && ended.is_none());
                    ring.synced();
                    ended = Some(true);
                }
                Work::End => assert!(ended.is_some()),
            },
            Step::Done(_) => {
                if let Some(frame) = moving.take() {
                    ring.moved(frame.index, frame.len, 7);
                    written.push(frame);
                }
            }
            Step::Fail(_) => {
                if let Some(frame) = moving.take() {
                    ring.fail(frame.index, broken(), 7);
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
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn reading_agrees_with_a_model(file in 0..11 * FRAME, depth in 1..=BUFFERS, steps in steps(1)) {
        read(file, depth, &steps);
    }

    #[test]
    fn writing_agrees_with_a_model(steps in steps(1)) {
        write(&steps);
    }
}

#[test]
fn slow_consumer_stops_the_reading() {
    let mut ring = ring(Direction::Load, 0, 2);
    for _ in 0..BUFFERS {
        let Work::Move(frame) = ring.work() else { panic!("a buffer is free") };
        ring.moved(frame.index, FRAME, 0);
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
    let mut ring = ring(Direction::Save, i64::MAX as u64 - 5000, 1);
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
    let mut ring = ring(Direction::Load, i64::MAX as u64 - 5, 2);
    assert!(matches!(ring.work(), Work::Move(Frame { index: 0, len: 5, .. })));
    ring.moved(0, 5, 0);
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
        depth: 1,
    };
    let mut ring = Ring::new(shape);
    assert!(matches!(ring.work(), Work::Move(Frame { buffer_offset: 0, file_offset: 100, .. })));
}

/// A ring that reads, whose first two frames move.
fn two_moving() -> (Ring, Frame, Frame) {
    let mut ring = ring(Direction::Load, 0, 2);
    let (Work::Move(first), Work::Move(second)) = (ring.work(), ring.work()) else {
        panic!("the ring is empty")
    };
    (ring, first, second)
}

#[test]
fn frame_that_is_complete_first_waits_for_the_one_before() {
    let (mut ring, first, second) = two_moving();
    ring.moved(second.index, FRAME, 1);
    assert_eq!(ring.next().expect_err("not yet").kind(), ErrorKind::Busy);
    assert_eq!(ring.progress().frames, 0);
    assert!(!ring.takes_bell());
    ring.moved(first.index, FRAME, 2);
    assert!(ring.takes_bell());
    for number in 0..2 {
        let Ok(Next::Frame(frame)) = ring.next() else { panic!("frame {number} is ready") };
        assert_eq!((frame.number, frame.timestamp), (number, 2));
    }
}

#[test]
fn error_of_the_second_frame_that_moves_follows_the_first_frame() {
    let (mut ring, first, second) = two_moving();
    ring.fail(second.index, broken(), 1);
    assert_eq!(ring.next().expect_err("not yet").kind(), ErrorKind::Busy);
    assert_eq!(ring.work(), Work::Wait, "nothing is read behind an error");
    assert!(ring.is_wanted(first.index) && !ring.has_ended());
    ring.moved(first.index, FRAME, 2);
    assert!(matches!(ring.next(), Ok(Next::Frame(Frame { number: 0, .. }))));
    let error = ring.next().expect_err("it has failed").to_string();
    assert_eq!(error, "frame 1: file_offset=10000: file: broken");
    assert!(ring.has_ended());
}

#[test]
fn error_of_the_first_frame_that_moves_hides_what_becomes_of_the_second() {
    for is_complete in [false, true] {
        let (mut ring, first, second) = two_moving();
        if is_complete {
            ring.moved(second.index, FRAME, 1);
        } else {
            ring.fail(second.index, broken(), 1);
        }
        ring.fail(first.index, broken(), 2);
        let error = ring.next().expect_err("it has failed").to_string();
        assert_eq!(error, "frame 0: file_offset=0: file: broken");
        assert_eq!((ring.progress().frames, ring.has_ended()), (0, true));
    }
}

#[test]
fn end_of_file_hides_what_was_read_behind_it() {
    let (mut ring, first, second) = two_moving();
    // The file grows between the two.
    ring.moved(second.index, FRAME, 1);
    ring.moved(first.index, 5, 2);
    assert!(matches!(ring.next(), Ok(Next::Frame(Frame { number: 0, len: 5, .. }))));
    assert_eq!(ring.next(), Ok(Next::EndOfFile));
    assert_eq!(ring.progress(), Moved { frames: 1, bytes: 5, timestamp: 0 });
}

#[test]
fn seek_while_two_frames_move_keeps_their_buffers_until_both_have_ended() {
    let (mut ring, first, second) = two_moving();
    ring.seek(500_000).expect("it is open");
    assert!(!ring.is_wanted(first.index) && !ring.is_wanted(second.index));
    assert_eq!(ring.work(), Work::Wait, "both move");
    ring.fail(first.index, broken(), 1);
    let Work::Move(third) = ring.work() else { panic!("one has ended") };
    assert_eq!((third.number, third.file_offset), (0, 500_000));
    assert_ne!(third.index, second.index);
    ring.moved(second.index, FRAME, 2);
    assert_eq!(ring.next().expect_err("it is one of before").kind(), ErrorKind::Busy);
    ring.moved(third.index, FRAME, 3);
    assert_eq!(ring.next(), Ok(Next::Frame(Frame { timestamp: 3, ..third })));
}

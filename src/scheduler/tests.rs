use super::*;
use dmabufio_core::error::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};

/// Larger than a turn that others may take beside it twice.
const LARGE: u64 = 16 << 20;

fn wait(seat: &mut Seat<'_>) -> Result<u64> {
    seat.next(0, LARGE, &mut || Ok(()))
}

#[test]
fn third_large_turn_waits_for_the_end_of_another() {
    let scheduler = Scheduler::new();
    let mut seats: Vec<Seat<'_>> =
        (0..3).map(|uid| scheduler.seat(uid, Priority::Normal)).collect();
    let [first, _second, third] = &mut seats[..] else { unreachable!("three") };
    assert_eq!(wait(first), Ok(LARGE));
    assert_eq!(wait(_second), Ok(LARGE));
    let started = AtomicBool::new(false);
    scope(|scope| {
        let waiting = scope.spawn(|| {
            let bytes = wait(third);
            started.store(true, Ordering::Relaxed);
            bytes
        });
        while scheduler.counts() != (1, 2) {
            sleep(Duration::from_millis(1));
        }
        assert!(!started.load(Ordering::Relaxed));
        first.release(LARGE);
        assert_eq!(waiting.join().expect("no panic"), Ok(LARGE));
    });
    drop(seats);
    assert_eq!(scheduler.counts(), (0, 0));
}

#[test]
fn hung_turns_hold_up_others_for_a_moment_only() {
    let scheduler = Scheduler::new();
    let mut hung = [1, 1].map(|uid| scheduler.seat(uid, Priority::Normal));
    hung.iter_mut().for_each(|seat| drop(wait(seat)));
    let start = Instant::now();
    let mut other = scheduler.seat(2, Priority::Normal);
    assert_eq!(wait(&mut other), Ok(LARGE));
    let time = start.elapsed();
    assert!(time > Duration::from_millis(100) && time < Duration::from_secs(2), "{time:?}");
}

#[test]
fn request_that_gives_up_leaves_the_queue_at_once() {
    let scheduler = Scheduler::new();
    let mut taken = [1, 1].map(|uid| scheduler.seat(uid, Priority::Normal));
    taken.iter_mut().for_each(|seat| drop(wait(seat)));
    let (cancelled, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut seat = scheduler.seat(2, Priority::Normal);
            let result = seat.next(0, LARGE, &mut || {
                asked.fetch_add(1, Ordering::SeqCst);
                match cancelled.load(Ordering::SeqCst) {
                    true => Err(Error::new(ErrorKind::TimedOut, "given up")),
                    false => Ok(()),
                }
            });
            result.map_err(|error| error.to_string())
        });
        while asked.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1));
        }
        cancelled.store(true, Ordering::SeqCst);
        waiting.thread().unpark();
        assert_eq!(waiting.join().expect("no panic"), Err("given up".to_owned()));
    });
    assert_eq!(scheduler.counts(), (0, 2));
}

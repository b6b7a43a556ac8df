use super::*;
use std::sync::mpsc::Receiver;
use std::thread::{scope, sleep};
use std::time::Instant;

/// A lane that waits 200 ms.
fn impatient() -> Lane {
    Lane { patience: Duration::from_millis(200), ..Lane::new(Lifetime::Resident) }
}

/// A daemon that does not answer until the sender is dropped, and what waits for it.
fn stall(lane: &Lane, uid: u32) -> (Sender<()>, Error) {
    let (daemon, answer): (_, Receiver<()>) = channel();
    let work = move |progress: &Progress<'_>| -> Result<()> {
        let _ = answer.recv();
        progress.made()?;
        unreachable!("nobody waits for it any more");
    };
    (daemon, lane.run(uid, work).expect_err("no answer"))
}

fn wait_until_empty(lane: &Lane) {
    let start = Instant::now();
    while lane.occupancy() != (0, 0) {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", lane.occupancy());
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn stalled_work_times_out_and_keeps_its_place_until_it_ends() {
    let lane = impatient();
    let (daemon, error) = stall(&lane, 1);
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(lane.occupancy(), (0, 1));
    drop(daemon);
    wait_until_empty(&lane);
}

#[test]
fn slow_work_that_makes_progress_is_waited_for() {
    let lane = impatient();
    let result = lane.run(1, |progress| {
        for _ in 0..30 {
            sleep(Duration::from_millis(10));
            progress.made()?;
        }
        Ok(7)
    });
    assert_eq!(result, Ok(7));
    assert_eq!(lane.occupancy(), (0, 0));
}

#[test]
fn one_user_cannot_fill_the_lane() {
    let lane = impatient();
    let _daemons = [stall(&lane, 1).0, stall(&lane, 1).0];
    assert_eq!(lane.run(1, |_| Ok(())).expect_err("third").kind(), ErrorKind::Busy);
    lane.run(2, |_| Ok(())).expect("another user");
}

#[test]
fn full_lane_is_busy_for_everyone_until_somebody_leaves() {
    let lane = impatient();
    let mut daemons: Vec<_> = (0..16).map(|i| stall(&lane, i / 2).0).collect();
    assert_eq!(lane.run(99, |_| Ok(())).expect_err("full").kind(), ErrorKind::Busy);
    daemons.clear();
    wait_until_empty(&lane);
    lane.run(99, |_| Ok(())).expect("room again");
}

#[test]
fn binder_threads_that_wait_are_fewer_than_there_are() {
    let lane = Lane::new(Lifetime::Resident);
    let (daemon, answers) = channel::<()>();
    let answers = Arc::new(Mutex::new(answers));
    scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|uid| {
                let (lane, answers) = (&lane, Arc::clone(&answers));
                scope.spawn(move || {
                    lane.run(uid, move |_| {
                        let _ = answers.lock().expect("no panic").recv();
                        Ok(())
                    })
                })
            })
            .collect();
        while lane.occupancy().0 < 4 {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(lane.run(9, |_| Ok(())).expect_err("fifth").kind(), ErrorKind::Busy);
        drop(daemon);
        waiting.into_iter().for_each(|one| one.join().expect("no panic").expect("done"));
    });
}

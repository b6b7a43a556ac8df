use super::*;
use crate::in_flight::Phase;
use dmabufio_core::priority::Priority;
use std::fs::read_to_string;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{scope, sleep};
use std::time::Instant;

/// One that waits 200 ms.
fn impatient() -> Admission {
    let patience = Duration::from_millis(200);
    let stalling_patience = patience;
    Admission {
        patience,
        stalling_patience,
        ..Admission::new(Lifetime::Resident, Quota::default())
    }
}

/// A daemon that does not answer until the drop of the sender, and a request that waits for it.
fn stall(admission: &Admission, uid: u32, class: Class) -> (Sender<()>, Error) {
    let (daemon, answer): (_, Receiver<()>) = channel();
    let work = move |admitted: &Admitted<'_>| -> Result<()> {
        let _ = answer.recv();
        admitted.progress(0)?;
        unreachable!("nobody waits for it any more");
    };
    (daemon, admission.run("load", uid, class, work).expect_err("no answer"))
}

fn wait_until_empty(admission: &Admission) {
    let start = Instant::now();
    while admission.counts() != Counts::default() {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", admission.counts());
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn stalled_work_times_out_and_keeps_its_place_until_it_ends() {
    for class in [Class::Stalling, Class::Ordinary] {
        let admission = impatient();
        let (daemon, error) = stall(&admission, 1, class);
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let counts = admission.counts();
        assert_eq!((counts.waiting, counts.abandoned), (0, 1));
        drop(daemon);
        wait_until_empty(&admission);
    }
}

#[test]
fn slow_work_that_makes_progress_is_waited_for() {
    let admission = impatient();
    let result = admission.run("load", 1, Class::Ordinary, |admitted| {
        for _ in 0..30 {
            sleep(Duration::from_millis(10));
            admitted.progress(0)?;
        }
        Ok(7)
    });
    assert_eq!(result, Ok(7));
    assert_eq!(admission.counts(), Counts::default());
}

/// How often the calling thread has waited so far.
fn waits() -> u64 {
    let status = read_to_string("/proc/thread-self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the line").trim().parse().expect("a number")
}

#[test]
fn signs_of_life_wake_nobody() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let before = waits();
    let work = |admitted: &Admitted<'_>| {
        for _ in 0..100 {
            sleep(Duration::from_millis(1));
            admitted.progress(1)?;
            admitted.queued()?;
        }
        Ok(())
    };
    admission.run("load", 1, Class::Ordinary, work).expect("done");
    let waits = waits() - before;
    // For the answer, and perhaps for a lock.
    assert!(waits < 20, "{waits}");
}

#[test]
fn queued_work_is_waited_for_and_times_out_once_it_goes_on() {
    let admission = impatient();
    let (daemon, answer): (_, Receiver<()>) = channel();
    let start = Instant::now();
    let work = move |admitted: &Admitted<'_>| {
        admitted.queued()?;
        sleep(Duration::from_millis(600));
        admitted.progress(0)?;
        let _ = answer.recv();
        admitted.progress(0)
    };
    let error = admission.run("load", 1, Class::Ordinary, work).expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(800), "{:?}", start.elapsed());
    drop(daemon);
    wait_until_empty(&admission);
}

#[test]
fn settled_work_is_ordinary_while_it_runs_and_when_it_stalls() {
    let admission = impatient();
    let settled = |admitted: &Admitted<'_>| admitted.settle(false);
    admission.run("load", 1, Class::Stalling, settled).expect("done");
    wait_until_empty(&admission);
    let (daemon, answer): (_, Receiver<()>) = channel();
    let work = move |admitted: &Admitted<'_>| {
        admitted.settle(false)?;
        let _ = answer.recv();
        admitted.progress(0)
    };
    let error = admission.run("load", 1, Class::Stalling, work).expect_err("no answer");
    assert!(error.to_string().starts_with("file: no progress for"), "{error}");
    let counts = admission.counts();
    assert_eq!((counts.abandoned, counts.stalling_abandoned), (1, 0));
    drop(daemon);
    wait_until_empty(&admission);
}

#[test]
fn two_stuck_requests_stop_their_user_and_nobody_else() {
    for class in [Class::Stalling, Class::Ordinary] {
        let admission = impatient();
        let daemons = [stall(&admission, 1, class).0, stall(&admission, 1, class).0];
        let error = admission.run("load", 1, class, |_| Ok(())).expect_err("third");
        assert_eq!(error.kind(), ErrorKind::Busy);
        admission.run("load", 2, class, |_| Ok(())).expect("another user");
        drop(daemons);
        wait_until_empty(&admission);
        admission.run("load", 1, class, |_| Ok(())).expect("room again");
    }
}

#[test]
fn closed_admission_refuses_and_waits_for_the_last_request() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (daemon, answer): (_, Receiver<()>) = channel();
    scope(|scope| {
        let request = scope.spawn(|| {
            admission.run("load", 1, Class::Ordinary, move |_| {
                let _ = answer.recv();
                Ok(())
            })
        });
        while admission.counts().waiting == 0 {
            sleep(Duration::from_millis(1));
        }
        assert!(!admission.close(Duration::from_millis(20)), "one still runs");
        let error = admission.run("load", 2, Class::Ordinary, |_| Ok(())).expect_err("closed");
        assert_eq!(error.to_string(), "the service is stopping; look it up again");
        drop(daemon);
        request.join().expect("no panic").expect("done");
        assert!(admission.close(Duration::from_secs(10)));
    });
}

#[test]
fn ids_of_requests_differ() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let id =
        || admission.run("load", 1, Class::Ordinary, |admitted| Ok(admitted.id)).expect("an id");
    assert_ne!(id(), id());
}

#[test]
fn requests_in_flight_are_listed_with_their_progress_until_they_end() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (go, wait): (_, Receiver<()>) = channel();
    let (begun, has_begun) = channel();
    scope(|scope| {
        let request = scope.spawn(|| {
            admission.run("transfer", 7, Class::Ordinary, move |admitted| {
                admitted.begin(Priority::Background, 100);
                admitted.progress(30)?;
                admitted.queued()?;
                begun.send(admitted.id).expect("a test");
                let _ = wait.recv();
                Ok(())
            })
        });
        let id = has_begun.recv().expect("an id");
        let batch = admission.enter_lasting(8, Lasting::Batch, Class::Ordinary).expect("room");
        let flights = admission.in_flight();
        assert_eq!(flights.len(), 2);
        let Flight { call, uid, priority, phase, moved, total, abandoned, .. } = flights[0];
        assert_eq!((flights[0].id, call, uid), (id, "transfer", 7));
        assert_eq!((priority, phase), (Some(Priority::Background), Phase::Queued));
        assert_eq!((moved, total, abandoned), (30, 100, false));
        assert_eq!((flights[1].call, flights[1].uid), ("submit", 8));
        drop(batch);
        drop(go);
        request.join().expect("no panic").expect("done");
    });
    assert!(admission.in_flight().is_empty());
}

#[test]
fn batch_that_has_ended_is_in_flight_no_more_although_its_result_is_held() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let place = admission.enter_lasting(1, Lasting::Batch, Class::Ordinary).expect("room");
    place.run(&|_| Ok(()), |_| assert_eq!(admission.in_flight().len(), 1));
    place.end();
    assert!(admission.in_flight().is_empty());
    assert_eq!(admission.counts().batches, 1);
}

#[test]
fn work_of_a_client_that_has_died_ends_at_its_next_sign_whether_it_moves_or_waits() {
    let signs: [fn(&Admitted<'_>) -> Result<()>; 3] = [
        |admitted| admitted.progress(1),
        |admitted| admitted.queued(),
        |admitted| admitted.settle(false),
    ];
    for sign in signs {
        let admission = Admission::new(Lifetime::Resident, Quota::default());
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let client = Process::open(child.id() as i32).expect("a process");
        let work = move |admitted: &Admitted<'_>| {
            sign(admitted).expect("it lives");
            child.kill().and_then(|()| child.wait()).expect("kill");
            sign(admitted)
        };
        let end = admission.run_for(Some(client), "transfer", 1, Class::Ordinary, work);
        assert_eq!(end, Err(Error::new(ErrorKind::Cancelled, "the client has died")));
        wait_until_empty(&admission);
    }
}

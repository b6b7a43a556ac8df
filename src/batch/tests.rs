use super::*;
use crate::admission::{Admission, Class, Lasting};
use crate::quota::Quota;
use binder_shim::Lifetime;
use rustix::fd::AsFd;
use rustix::io::read;
use std::sync::mpsc::{channel, Sender};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A batch of 100 bytes that moves 10 whenever it is told to, until it is cancelled.
fn start(admission: &Admission) -> (Arc<Batch>, Sender<()>) {
    let place = admission.enter_lasting(1, Lasting::Batch, Class::Ordinary).expect("room");
    let batch = Arc::new(Batch::new(place, 100).expect("a pipe"));
    let (go, steps) = channel();
    let work = move |admitted: &Admitted<'_>| {
        let mut result = Ok(Receipt::default());
        while result.is_ok() && steps.recv().is_ok() {
            result = admitted.progress(10).map(|()| Receipt::default());
        }
        Outcome { transfers: vec![result], ..Default::default() }
    };
    batch.start(work).expect("a thread");
    (batch, go)
}

/// Waits for the end of a batch that must end, as a client that reads its completion does.
fn has_ended(batch: &Batch) -> bool {
    let mut byte = [0];
    read(batch.completion().as_fd(), &mut byte) == Ok(0)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(1));
    }
}

fn transfer(batch: &Batch) -> Result<Result<Receipt>> {
    batch.outcome(|outcome| Ok(outcome.transfers[0].clone()))
}

#[test]
fn result_is_busy_until_the_batch_has_ended() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (batch, go) = start(&admission);
    assert_eq!(transfer(&batch).expect_err("it runs").kind(), ErrorKind::Busy);
    go.send(()).expect("it runs");
    wait_until("it moves", || batch.position() == (10, 100, false));
    drop(go);
    assert!(has_ended(&batch));
    assert_eq!(transfer(&batch), Ok(Ok(Receipt::default())));
    assert_eq!(batch.position(), (10, 100, true));
}

#[test]
fn cancelled_batch_ends_at_its_next_step() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (batch, go) = start(&admission);
    batch.cancel();
    assert_eq!(transfer(&batch).expect_err("a piece is in flight").kind(), ErrorKind::Busy);
    go.send(()).expect("it runs");
    assert!(has_ended(&batch));
    let error = transfer(&batch).expect("an outcome").expect_err("cancelled");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Cancelled, "the batch was cancelled")
    );
}

#[test]
fn place_is_kept_until_the_batch_has_ended_and_its_result_is_dropped() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    let (batch, go) = start(&admission);
    let (dropped, gone) = start(&admission);
    assert_eq!(admission.counts().batches, 2);
    drop(dropped);
    assert_eq!(admission.counts().batches, 2, "it still runs");
    drop((go, gone));
    wait_until("one place is free", || admission.counts().batches == 1);
    assert!(has_ended(&batch));
    drop(batch);
    wait_until("both places are free", || admission.counts().batches == 0);
}

#[test]
fn closed_admission_lets_no_batch_in() {
    let admission = Admission::new(Lifetime::Resident, Quota::default());
    assert!(admission.close(Duration::ZERO));
    let error =
        admission.enter_lasting(1, Lasting::Batch, Class::Ordinary).map(drop).expect_err("closed");
    assert_eq!(error.to_string(), "the service is stopping; look it up again");
}

//! The pool when memory gets short.

#![allow(missing_docs, reason = "test code")]

mod support;

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::Fixture;
use support::hungry::Hungry;

#[test]
fn pool_is_emptied_when_memory_gets_short_and_stays_empty() {
    let fixture = Fixture::start_unprivileged(&["--pool", "1M:8"]);
    fixture.allocate(1 << 20);
    fixture.held_buffers(8, &HashSet::new());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        fixture.held_buffers(8, &HashSet::new());
        sleep(Duration::from_millis(100));
    }
    let _hungry = Hungry::start(fixture.dir.path());
    fixture.held_buffers(0, &HashSet::new());
    println!("emptied after {:?}", start.elapsed() - Duration::from_secs(3));
    // A request does not fill it while that lasts.
    fixture.allocate(1 << 20);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        fixture.held_buffers(0, &HashSet::new());
        sleep(Duration::from_millis(20));
    }
}

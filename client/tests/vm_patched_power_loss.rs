//! Durable saves and a loss of power: the kernel logs what a client lets the disk write, and the log is
//! replayed up to many places, as the disk may be after a loss of power there.

#![allow(missing_docs, reason = "test code")]

#[path = "../../tests/support/device.rs"]
mod device;
#[path = "power_loss/log.rs"]
mod log;
#[path = "../../tests/support/random.rs"]
mod random;
#[path = "power_loss/workload.rs"]
mod workload;

use device::{memory, Loop, Mapped, Mount, SECTOR, SIZE};
use dmabufio_client::Client;
use log::{Cache, Log, Replay};
use random::Random;
use std::env;
use std::fs;
use std::path::Path;
use std::time::Instant;
use workload::{check, State, Workload};

/// The variable with the number of places where the power is lost.
const CUTS: &str = "DMABUFIO_CUTS";

/// How many there are without the variable.
const SHORT: usize = 12;

/// The actions of the client.
const STEPS: usize = 60;

/// The milliseconds that a write takes. A flush takes none, so a write that nothing waits for comes too
/// late.
const WRITE: u32 = 10;

/// Room for the log. Sparse.
const LOG: u64 = 1 << 30;

/// Lets the client work on an empty `file_system`. Leaves in `dir` the disk before, and the log, which
/// has a mark after each step.
fn record(file_system: &str, dir: &Path) {
    let [base, disk, log] = ["base", "disk", "log"].map(|name| dir.join(name));
    device::format(&base, file_system);
    fs::copy(&base, &disk).expect("copy");
    device::image(&log, LOG);
    let (disk, log) = (Loop::new(&disk), Loop::new(&log));
    let (sectors, disk, log) = (SIZE / SECTOR, disk.path(), log.path());
    let slow = format!("0 {sectors} delay {disk} 0 0 {disk} 0 {WRITE} {disk} 0 0");
    let slow = Mapped::new(&slow);
    let mapped = Mapped::new(&format!("0 {sectors} log-writes {} {log}", slow.path()));
    let mount = Mount::new(&mapped.path(), file_system, "noatime", dir.join("mount"));
    let client = Client::service().expect("the service");
    let workload = Workload::new(&client, &mount.0);
    rustix::fs::sync();
    mapped.message(&["mark", "0"]);
    for step in 0..STEPS {
        workload.run(step);
        mapped.message(&["mark", &(step + 1).to_string()]);
    }
}

/// What is wrong after the power is lost behind the first `cut` entries of the log.
fn lose_power(
    file_system: &str,
    dir: &Path,
    replay: &mut Replay<'_>,
    cut: usize,
    cache: Cache<'_>,
    steps: usize,
) -> Result<(), String> {
    // A new one each time: f2fs takes what is left of an earlier replay for its own.
    let image = dir.join("image");
    replay.write(cut, cache, &device::image(&image, SIZE));
    let disk = Loop::new(&image);
    let mount = Mount::new(disk.path(), file_system, "noatime", dir.join("mount"));
    check(&mount.0, &State::after(steps), &State::after(steps + 1))
}

fn survives(file_system: &str) {
    let cuts = env::var(CUTS).map_or(SHORT, |cuts| cuts.parse().expect(CUTS));
    let dir = memory();
    let start = Instant::now();
    record(file_system, dir.path());
    let took = start.elapsed();
    let log = Log::open(&dir.path().join("log"));
    let (first, end) = (log.after("0"), log.entries.len());
    // dm-log-writes ends its log silently when it lacks memory or room.
    log.after(&STEPS.to_string());
    println!("{file_system}: {STEPS} steps in {took:?}, {} entries", end - first);
    let mut replay = Replay::new(&log, &dir.path().join("base"));
    for (i, cut) in places(&log, first, cuts).into_iter().enumerate() {
        let mut random = Random::new(i as u64);
        let steps = log.last_mark(cut);
        let steps = steps.parse().unwrap_or(STEPS);
        let mut lose = |cache| lose_power(file_system, dir.path(), &mut replay, cut, cache, steps);
        if let Err(error) = lose(Cache::Lost(&mut random)) {
            let kept = lose(Cache::Kept);
            let place = format!("{file_system}, cut {cut}, {steps} steps acknowledged");
            panic!("{place}: {error}; with all writes before: {kept:?}");
        }
    }
    println!("{file_system}: {cuts} losses of power in {:?}", start.elapsed() - took);
}

/// As many places in the log behind `first`, in ascending order. Every other one is where the client
/// has just got its answer.
fn places(log: &Log, first: usize, count: usize) -> Vec<usize> {
    let end = log.entries.len();
    let part = |i: usize| first + (end - first) * i / count;
    let place = |i: usize| {
        let len = (part(i + 1) - part(i)).max(1);
        let place = part(i) + Random::new(i as u64).next() as usize % len;
        let mark = log.entries[place..].iter().position(|entry| entry.mark.is_some());
        place + mark.filter(|_| i % 2 == 0).map_or(0, |at| at + 1)
    };
    let mut places: Vec<usize> = (0..count).map(place).collect();
    places.sort_unstable();
    places
}

#[test]
fn ext4_has_what_was_acknowledged_after_a_loss_of_power() {
    survives("ext4");
}

#[test]
fn f2fs_has_what_was_acknowledged_after_a_loss_of_power() {
    survives("f2fs");
}

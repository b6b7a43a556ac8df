//! Clients of a service that is killed again and again: on this host over a Unix socket
//! (`death.rs`), in the VM over kernel binder (`vm_death.rs`).

use crate::support::fixture::buffers_of;
use crate::support::{make_cold, vm_kernel, Random};
use dmabufio_client::{Batch, Client, Error, Filled, Load, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::load::Item;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::fstat;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// A buffer, in bytes.
const LEN: usize = 2 << 20;
/// The buffers of a load.
const BUFFERS: usize = 8;

/// A service that somebody starts again after its death.
pub trait Mortal {
    fn client(&self) -> Client;
    /// Its process. Waits for one that is starting.
    fn pid(&self) -> u32;
    /// Sends SIGKILL to its process, which is `pid`, and returns when there is no such process.
    fn kill(&mut self, pid: u32);
    /// A folder for files.
    fn dir(&self) -> &Path;
}

fn random_file(dir: &Path, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
    let (path, content) = (dir.join(name), Random::new(len as u64).bytes(len));
    fs::write(&path, &content).expect("write");
    (path, content)
}

fn items() -> Vec<Item> {
    let item = |i: usize| Item {
        size: LEN as u64,
        extents: vec![Extent { file_offset: (i * LEN) as u64, buffer_offset: 0, len: LEN as u64 }],
    };
    (0..BUFFERS).map(item).collect()
}

/// The buffers of a load that has succeeded, and of which nobody has changed a byte.
fn check(filled: &[Filled], content: &[u8]) {
    assert_eq!(filled.len(), BUFFERS);
    let mut bytes = vec![0; LEN];
    for (Filled { buffer, receipt }, part) in filled.iter().zip(content.chunks(LEN)) {
        assert_eq!(receipt.bytes(), LEN as u64);
        buffer.read(0, &mut bytes).expect("read the buffer");
        assert!(bytes == part, "the buffer differs from the file");
    }
}

/// Those of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("own descriptors").count()
}

/// Those of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("own threads").count()
}

/// Kills the service in the middle of `count` loads. Each load returns its buffers once, and those
/// of the load before keep their data.
pub fn kill_in_mid_load(mortal: &mut impl Mortal, count: usize) {
    let client = mortal.client();
    let (path, content) = random_file(mortal.dir(), "loaded", BUFFERS * LEN);
    let (file, items) = (File::open(&path).expect("open"), items());
    let load = || {
        let filled = client.load(&Load::new(file.as_fd(), &items)).expect("a load");
        filled.into_iter().collect::<Result<Vec<_>, _>>().expect("buffers")
    };
    let mut before = load();
    let mut random = Random::new(count as u64);
    let (mut in_mid_load, mut rounds) = (0, 0);
    let mut used = None;
    while in_mid_load < count {
        rounds += 1;
        assert!(rounds <= 10 * count, "{in_mid_load} of {rounds} kills in mid load");
        if vm_kernel().is_some() {
            make_cold(&path);
        }
        let (filled, held) = thread::scope(|scope| {
            let loading = scope.spawn(load);
            let wanted = 1 + random.below(BUFFERS as u64 / 2) as usize;
            let pid = mortal.pid();
            let mut held = HashSet::new();
            while held.len() < wanted && !loading.is_finished() {
                held = buffers_of(&pid.to_string());
            }
            mortal.kill(pid);
            (loading.join().expect("a load"), held)
        });
        check(&before, &content);
        check(&filled, &content);
        let inode = |filled: &Filled| fstat(&filled.buffer).expect("fstat").st_ino;
        let given: HashSet<u64> = filled.iter().map(inode).collect();
        assert_eq!(given.len(), BUFFERS, "each item has a buffer of its own");
        // The dead service has given none of its buffers away: it died before it answered.
        in_mid_load += usize::from(!held.is_empty() && held.is_disjoint(&given));
        before = filled;
        // Whatever is made once, like a thread of the binder stack, is there after a death.
        used.get_or_insert_with(|| (descriptors(), threads()));
    }
    println!("{in_mid_load} of {rounds} kills in mid load");
    let (used, start) = (used.expect("a round"), Instant::now());
    while descriptors() > used.0 || threads() > used.1 {
        let now = (descriptors(), threads());
        assert!(start.elapsed() < Duration::from_secs(5), "{used:?} after one death, now {now:?}");
        sleep(Duration::from_millis(10));
    }
}

/// Kills the service at any time while threads of one client make every call that waits for an
/// answer. Each call succeeds, once, with the right data.
pub fn kill_in_mixed_calls(mortal: &mut impl Mortal, count: usize) {
    let client = mortal.client();
    let (path, content) = random_file(mortal.dir(), "mixed", BUFFERS * LEN);
    let saved = mortal.dir().join("saved");
    let file = File::open(&path).expect("open");
    let whole = [Extent { file_offset: 0, buffer_offset: 0, len: content.len() as u64 }];
    let loading = |round: u8| {
        let buffer = client.allocate(content.len() as u64, "mixed").expect("allocate");
        buffer.write(0, &vec![round; content.len()]).expect("write the buffer");
        let load = Transfer::new(buffer.as_fd(), file.as_fd(), &whole, Direction::Load);
        let receipt = client.transfer(&load).expect("a load");
        assert_eq!(receipt.bytes(), content.len() as u64);
        let mut bytes = vec![0; content.len()];
        buffer.read(0, &mut bytes).expect("read the buffer");
        assert!(bytes == content, "the buffer differs from the file");
    };
    let saving = |round: u8| {
        let buffer = client.allocate(content.len() as u64, "mixed").expect("allocate");
        let bytes: Vec<u8> = content.iter().map(|byte| byte ^ round).collect();
        buffer.write(0, &bytes).expect("write the buffer");
        let target = File::create(&saved).expect("create");
        let save = Transfer::new(buffer.as_fd(), target.as_fd(), &whole, Direction::Save);
        let receipt = client.transfer(&save).expect("a save");
        assert_eq!(receipt.bytes(), content.len() as u64);
        assert!(fs::read(&saved).expect("read") == bytes, "the file differs from the buffer");
    };
    let asking = |_| {
        assert!(client.capabilities().expect("capabilities").max_extents > 0);
        let plan = client.probe(file.as_fd(), &whole).expect("a plan").remove(0);
        assert_eq!(plan.direct + plan.bounced + plan.buffered, content.len() as u64);
    };
    let calls: [&(dyn Fn(u8) + Sync); 3] = [&loading, &saving, &asking];
    let done = calls.map(|_| AtomicUsize::new(0));
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        for (call, done) in calls.iter().zip(&done) {
            let end = &end;
            scope.spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    call(done.load(Ordering::Relaxed) as u8);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let finished = || done.iter().map(|done| done.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut random = Random::new(count as u64);
        for _ in 0..count {
            // No call meets three deaths.
            let (before, start) = (finished(), Instant::now());
            while finished().iter().zip(&before).any(|(now, before)| now <= before) {
                if start.elapsed() > Duration::from_secs(20) {
                    end.store(true, Ordering::Relaxed);
                    panic!("a call has stopped: {before:?}, now {:?}", finished());
                }
                sleep(Duration::from_millis(1));
            }
            sleep(Duration::from_millis(random.below(30)));
            mortal.kill(mortal.pid());
        }
        end.store(true, Ordering::Relaxed);
        println!("loads, saves and questions: {:?}", finished());
    });
}

/// Kills the service while it has a batch.
pub fn kill_with_a_batch(mortal: &mut impl Mortal) {
    let client = mortal.client();
    let (path, content) = random_file(mortal.dir(), "batch", BUFFERS * LEN);
    let (file, items) = (File::open(&path).expect("open"), items());
    let loads = [Load::new(file.as_fd(), &items)];
    let batch = Batch { loads: &loads, transfers: &[] };
    let submitted = client.submit(&batch).expect("submit");
    mortal.kill(mortal.pid());
    let mut fds = [PollFd::new(&submitted, PollFlags::empty())];
    assert_eq!(poll(&mut fds, 10_000), Ok(1), "the descriptor tells of the death");
    let errors = [
        submitted.progress().map(drop),
        submitted.cancel(),
        submitted.try_wait().map(drop),
        submitted.wait().map(drop),
    ];
    for error in errors.map(|result| result.expect_err("it died")) {
        assert!(matches!(error, Error::Died(_)), "{error:?}");
        let text =
            "the service died before it told the outcome of this batch; its loads are lost, \
                    and what its transfers have done is unknown; submit it again";
        assert_eq!(error.to_string(), text);
    }
    // The client still has the connection to the dead process.
    let mut outcome = client.submit(&batch).and_then(|batch| batch.wait()).expect("the batch");
    let filled: Result<Vec<_>, _> = outcome.loads.remove(0).into_iter().collect();
    check(&filled.expect("buffers"), &content);
}

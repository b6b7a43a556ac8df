//! Clients that do everything and are killed at random. What is left is checked: every result that
//! a client gets, and what the service and the kernel have when all clients are gone.
//!
//! `cargo xtask soak` has more clients, and runs for longer.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_client::stream::{Next, Ring, StreamRequest};
use dmabufio_client::{Batch, Client, Error, Filled, Load, Outcome, Transfer};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::load::Item;
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::Durability;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{stdin, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{id, Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::fixture::Fixture;
use support::left::{wait_until_quiet, Left};
use support::{file, Random};

/// The file that all clients load, in bytes.
const FILE: usize = 4 << 20;

/// The longest request, in bytes.
const LONGEST: u64 = 512 << 10;

/// The variable with the folder and the seed of a process that is to be a client.
const CLIENT: &str = "DMABUFIO_TEST_CLIENT";

/// The variable with the number of clients, and the seconds for them to come and go.
const SOAK: &str = "DMABUFIO_SOAK";

/// Its value unless it is set.
const SHORT: &str = "16 10";

/// The time until everything that stays has been used once.
const WARM_UP: Duration = Duration::from_secs(3);

/// The longest time after which the clients end, and what is left is shown, in seconds.
const ROUND: u32 = 60;

/// Where the clients count what they have done: a letter for each call.
const COUNTS: &str = "counts";
const CALLS: [(u8, &str); 9] = [
    (b'l', "loads"),
    (b't', "transfers"),
    (b's', "saves"),
    (b'b', "batches"),
    (b'c', "cancelled batches"),
    (b'd', "dropped batches"),
    (b'f', "streams"),
    (b'p', "probes"),
    (b'r', "refusals"),
];

/// What they count besides, for a request that the service has given up.
const GIVEN_UP: u8 = b'o';

#[test]
fn clients_that_are_killed_at_random_leave_nothing_behind() {
    if let Ok(role) = env::var(CLIENT) {
        let (seed, dir) = role.split_once(' ').expect("a seed and a folder");
        return Customer::new(seed.parse().expect("a seed"), Path::new(dir)).serve_itself();
    }
    let soak = env::var(SOAK).unwrap_or_else(|_| SHORT.to_owned());
    let (clients, seconds) = soak.split_once(' ').expect(SOAK);
    let clients = clients.parse().expect(SOAK);
    let time = Duration::from_secs(seconds.parse().expect(SOAK));
    let fixture = Fixture::new();
    file(fixture.dir.path(), "data", &content());
    let before = Left::of(&fixture);
    let mut seed = 0;
    let rounds = 1 + time.as_secs() as u32 / ROUND;
    // As many threads, and as much memory at a time, as later.
    let warm_up = WARM_UP.max(time / 5);
    Crowd::start(&fixture, clients, &mut seed).come_and_go(warm_up);
    wait_until_quiet(&fixture);
    let used = Left::used_since(&before, &fixture);
    println!("after the warm-up: {used:?}, {} calls", calls(&fixture).len());
    let mut kills = 0;
    for round in 1..=rounds {
        kills += Crowd::start(&fixture, clients, &mut seed).come_and_go(time / rounds);
        wait_until_quiet(&fixture);
        let now = Left::of(&fixture);
        println!("round {round} of {rounds}: {now:?}, {} calls", calls(&fixture).len());
    }
    println!("{kills} clients killed; {:?} left", Left::no_more_than(&used, &fixture));
    let counts = calls(&fixture);
    for (letter, what) in CALLS {
        let count = counts.iter().filter(|count| **count == letter).count();
        println!("{what}: {count}");
        assert!(count > 0, "no {what}");
    }
    let given_up = counts.iter().filter(|count| **count == GIVEN_UP).count();
    println!("given up: {given_up}");
    assert!(given_up * 1000 <= counts.len(), "{given_up} of {} given up", counts.len());
}

/// What the clients have done, a letter for each call.
fn calls(fixture: &Fixture) -> Vec<u8> {
    fs::read(fixture.dir.path().join(COUNTS)).expect("counts")
}

/// The content of the file, of parts that are no multiple of a page.
fn content() -> Vec<u8> {
    const PART: usize = 70_001;
    let mut content = Random::new(FILE as u64).bytes(PART).repeat(FILE / PART + 1);
    content.truncate(FILE);
    content
}

/// Processes that are clients.
struct Crowd<'a> {
    fixture: &'a Fixture,
    seed: &'a mut u64,
    children: Vec<Child>,
    /// What the clients have as standard input. They end when the other end is closed.
    input: OwnedFd,
    other_end: Option<OwnedFd>,
}

impl<'a> Crowd<'a> {
    fn start(fixture: &'a Fixture, clients: usize, seed: &'a mut u64) -> Self {
        let (input, other_end) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut crowd =
            Self { fixture, seed, children: Vec::new(), input, other_end: Some(other_end) };
        for _ in 0..clients {
            let child = crowd.client();
            crowd.children.push(child);
        }
        crowd
    }

    fn client(&mut self) -> Child {
        *self.seed += 1;
        Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "clients_that_are_killed_at_random_leave_nothing_behind"])
            .arg("--nocapture")
            .env(CLIENT, format!("{} {}", self.seed, self.fixture.dir.path().display()))
            .stdin(self.input.try_clone().expect("dup"))
            // It says how many tests it has, and would be counted.
            .stdout(Stdio::null())
            .spawn()
            .expect("start a client")
    }

    /// Kills clients for `time` and starts others in their place. Then the clients end by
    /// themselves. Returns the number of those that were killed.
    fn come_and_go(mut self, time: Duration) -> usize {
        let mut random = Random::new(*self.seed);
        let (mut kills, start) = (0, Instant::now());
        while start.elapsed() < time {
            sleep(Duration::from_millis(random.below(200)));
            let victim = random.below(self.children.len() as u64) as usize;
            let ended = self.children[victim].try_wait().expect("wait");
            assert!(ended.is_none(), "a client has ended: {ended:?}");
            self.children[victim].kill().expect("kill");
            self.children[victim].wait().expect("wait");
            kills += 1;
            self.children[victim] = self.client();
        }
        drop(self.other_end.take());
        for child in &mut self.children {
            let status = child.wait().expect("wait");
            assert!(status.success(), "a client: {status}");
        }
        kills
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It has normally ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a client does with a batch.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Waited,
    Cancelled,
    Dropped,
}

/// A client.
struct Customer {
    client: Client,
    random: Random,
    file: File,
    content: Vec<u8>,
    saved: File,
    counts: File,
}

impl Customer {
    fn new(seed: u64, dir: &Path) -> Self {
        let saved = dir.join(format!("saved-{}", id()));
        let counts = OpenOptions::new().append(true).create(true).open(dir.join(COUNTS));
        let options = OpenOptions::new().read(true).write(true).create_new(true).open(&saved);
        // Nobody else needs the name, and a client that is killed does not remove it.
        fs::remove_file(&saved).expect("remove");
        Self {
            client: Client::service().expect("the service"),
            random: Random::new(seed),
            file: File::open(dir.join("data")).expect("open"),
            content: content(),
            saved: options.expect("create"),
            counts: counts.expect("create"),
        }
    }

    fn serve_itself(mut self) {
        let input = stdin();
        loop {
            let mut fds = [PollFd::new(&input, PollFlags::empty())];
            if poll(&mut fds, 0).expect("poll") > 0 {
                return;
            }
            let done = match self.random.below(8) {
                0 => self.load(),
                1 => self.transfer(),
                2 => self.save(),
                3 => self.batch(Fate::Waited),
                4 => self.batch(Fate::Cancelled),
                5 => self.batch(Fate::Dropped),
                6 => self.stream(),
                _ => self.probe(),
            };
            let letter = match done {
                Ok(letter) => letter,
                Err(error) if error.kind() == Some(ErrorKind::TimedOut) => {
                    // The service stops waiting after a while without progress. On a machine that
                    // is too slow the request ends later; if it hangs, the round does not end.
                    eprintln!("{error}; {}", self.client.dump(&[]).expect("a dump"));
                    GIVEN_UP
                }
                Err(error) => {
                    let kind = error.kind();
                    let refused = [ErrorKind::QuotaExceeded, ErrorKind::Busy].map(Some);
                    assert!(refused.contains(&kind), "{error}");
                    sleep(Duration::from_millis(self.random.below(100)));
                    b'r'
                }
            };
            self.counts.write_all(&[letter]).expect("count");
        }
    }

    /// A range of the file, for the start of a buffer.
    fn extent(&mut self) -> Extent {
        let len = 1 + self.random.below(LONGEST);
        let mut file_offset = self.random.below(FILE as u64 - len);
        if self.random.below(2) == 0 {
            file_offset -= file_offset % 4096;
        }
        Extent { file_offset, buffer_offset: 0, len }
    }

    fn items(&mut self) -> Vec<Item> {
        let count = 1 + self.random.below(4);
        let item = |extent: Extent| Item { size: extent.len, extents: vec![extent] };
        (0..count).map(|_| item(self.extent())).collect()
    }

    fn part(&self, extent: &Extent) -> &[u8] {
        &self.content[extent.file_offset as usize..][..extent.len as usize]
    }

    fn check(&self, filled: &Filled, extent: &Extent) {
        assert_eq!(filled.receipt.bytes(), extent.len);
        let mut bytes = vec![0; extent.len as usize];
        filled.buffer.read(0, &mut bytes).expect("read the buffer");
        assert!(bytes == self.part(extent), "the buffer differs: {extent:?}");
    }

    fn load(&mut self) -> Result<u8, Error> {
        let items = self.items();
        let filled = self.client.load(&Load::new(self.file.as_fd(), &items))?;
        for (filled, item) in filled.into_iter().zip(&items) {
            self.check(&filled?, &item.extents[0]);
        }
        Ok(b'l')
    }

    fn transfer(&mut self) -> Result<u8, Error> {
        let extents = [self.extent()];
        let mode = [Mode::Auto, Mode::Buffered][self.random.below(2) as usize];
        let buffer = self.client.allocate(extents[0].len, "soak")?;
        let transfer = Transfer::new(buffer.as_fd(), self.file.as_fd(), &extents, Direction::Load);
        let receipt = self.client.transfer(&Transfer { mode, ..transfer })?;
        self.check(&Filled { buffer, receipt }, &extents[0]);
        Ok(b't')
    }

    fn save(&mut self) -> Result<u8, Error> {
        let part = self.extent();
        let durability = [Durability::None, Durability::Data][self.random.below(2) as usize];
        let buffer = self.client.allocate(part.len, "soak")?;
        buffer.write(0, self.part(&part)).expect("write the buffer");
        let extents = [part];
        let save = Transfer::new(buffer.as_fd(), self.saved.as_fd(), &extents, Direction::Save);
        let receipt = self.client.transfer(&Transfer { durability, ..save })?;
        assert_eq!(receipt.bytes(), part.len);
        let mut bytes = vec![0; part.len as usize];
        self.saved.read_exact_at(&mut bytes, part.file_offset).expect("read back");
        assert!(bytes == self.part(&part), "the file differs: {part:?}");
        Ok(b's')
    }

    fn batch(&mut self, fate: Fate) -> Result<u8, Error> {
        let (items, extents) = (self.items(), [self.extent()]);
        let buffer = self.client.allocate(extents[0].len, "soak")?;
        let transfer = Transfer::new(buffer.as_fd(), self.file.as_fd(), &extents, Direction::Load);
        let loads = [Load::new(self.file.as_fd(), &items)];
        let batch = Batch { loads: &loads, transfers: &[transfer] };
        let submitted = self.client.submit(&batch)?;
        let pause = Duration::from_millis(self.random.below(10));
        match fate {
            Fate::Waited => {}
            Fate::Cancelled => {
                sleep(pause);
                submitted.cancel()?;
            }
            Fate::Dropped => {
                sleep(pause);
                return Ok(b'd');
            }
        }
        let Outcome { mut loads, mut transfers } = submitted.wait()?;
        let (filled, receipt) = (loads.remove(0), transfers.remove(0));
        let last = receipt.map(|receipt| Filled { buffer, receipt });
        let parts = items.iter().map(|item| &item.extents[0]).chain(&extents);
        for (filled, part) in filled.into_iter().chain([last]).zip(parts) {
            match filled {
                Err(error)
                    if fate == Fate::Cancelled && error.kind() == Some(ErrorKind::Cancelled) => {}
                filled => self.check(&filled?, part),
            }
        }
        Ok(if fate == Fate::Waited { b'b' } else { b'c' })
    }

    /// Reads a few frames, some of them elsewhere, and drops the stream.
    fn stream(&mut self) -> Result<u8, Error> {
        let first = self.extent();
        let ring = Ring::Allocate(2);
        let request = StreamRequest::new(self.file.as_fd(), Direction::Load, first.len, ring);
        let offset = first.file_offset;
        let mut stream = self.client.open_stream(&StreamRequest { offset, ..request })?;
        for _ in 0..3 {
            if self.random.below(4) == 0 {
                stream.seek(self.random.below(FILE as u64))?;
            }
            let Next::Frame(frame) = stream.next(None)? else { break };
            let mut bytes = vec![0; frame.len as usize];
            stream.buffers()[frame.index].read(frame.buffer_offset, &mut bytes).expect("read");
            let expected = &self.content[frame.file_offset as usize..][..bytes.len()];
            assert!(bytes == expected, "the frame differs: {frame:?}");
            stream.release(frame.index)?;
        }
        Ok(b'f')
    }

    fn probe(&mut self) -> Result<u8, Error> {
        let extents = [self.extent()];
        let plan = self.client.probe(self.file.as_fd(), &extents)?.remove(0);
        assert_eq!(plan.direct + plan.bounced + plan.buffered, extents[0].len);
        Ok(b'p')
    }
}

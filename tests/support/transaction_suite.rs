//! Random transactions at the service: on this host over a Unix socket with the embedded heap
//! (`transactions.rs`), in the VM over kernel binder with the system heap (`vm_transactions.rs`).
//! Valid requests with some words changed, and parcels without any sense. Whatever comes: the
//! service lives, answers, does not panic, and has nothing left of it.
//!
//! A process of its own makes them: the library keeps the connection of a socket for as long as the
//! process lives. What it has left behind while it lives shows in its quota, and what the service
//! has when it is gone, in its descriptors, threads, buffers and memory.

use crate::support::fixture::{duplicate, request, Fixture};
use crate::support::left::{wait_until_quiet, Left, ONE_AREA};
use crate::support::random_parcels::{RandomParcels, LEN};
use crate::support::{file, read_buffer, vm_heap, vm_kernel, Random};
use binder_shim::{connect_socket, describe, lookup_within, pfd};
use binder_shim::{SpIBinder, Strong};
use dmabufio_core::heap::Heap;
use dmabufio_wire::INSTANCE;
use rsbinder::{Status, StatusCode, FIRST_CALL_TRANSACTION, FLAG_CLEAR_BUF, FLAG_ONEWAY};
use std::env;
use std::fs::{remove_file, File, OpenOptions};
use std::iter::Sum;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{scope, sleep, Builder};
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, IDmabufIo::IDmabufIo, SubmitRequest::SubmitRequest,
    TransferRequest::TransferRequest,
};

const SEED: u64 = 20_261_129;

/// The variable with the seconds for transactions, if there shall be more than a few.
const SECONDS: &str = "DMABUFIO_FUZZ_SECONDS";

/// Transactions unless it is set, and before those that count.
const SHORT: u64 = 10_000;
const WARM_UP: u64 = 5_000;

/// The variable with the most transactions, the most seconds, and the folder of a process that
/// makes them.
const CLIENT: &str = "DMABUFIO_TEST_CLIENT";

/// One fewer than a socket client has connections. When all of them are busy, rsbinder 0.12 keeps
/// the release of an object that has had oneway calls, until the whole client ends: its thread that
/// hears of it has no connection to say so on. The interface has no oneway calls, and only that
/// client's own quota is used up.
const THREADS: u64 = 3;

/// No request waits for longer than this for a file that does not stall.
const LONGEST: Duration = Duration::from_secs(10);

/// The methods of the service, of a batch and of a stream.
const METHODS: [u32; 3] = [7, 4, 10];

/// The batches of a user.
const BATCHES: usize = 8;

#[test]
fn random_transactions_neither_stop_the_service_nor_stay_in_it() {
    if let Ok(role) = env::var(CLIENT) {
        let mut words = role.splitn(3, ' ');
        let [count, seconds] = [(); 2].map(|()| words.next().and_then(|word| word.parse().ok()));
        let client = Client::new(words.next().expect("a folder").into());
        let time = Duration::from_secs(seconds.expect("a number"));
        return client.run(count.expect("a number"), time);
    }
    // A transaction can ask for all memory, which takes long to clear on a large host.
    let fixture = match vm_kernel() {
        Some(_) => Fixture::new(),
        None => {
            let mut service = Command::new(Fixture::PROGRAM);
            service.env(ONE_AREA.0, ONE_AREA.1);
            Fixture::run(service, &["--quota", "all:bytes=64M"])
        }
    };
    file(fixture.dir.path(), "read", &content());
    let client = |count: u64, seconds: &str| {
        let status = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture"])
            .arg("suite::random_transactions_neither_stop_the_service_nor_stay_in_it")
            .env(CLIENT, format!("{count} {seconds} {}", fixture.dir.path().display()))
            // It says how many tests it has, and would be counted.
            .stdout(Stdio::null())
            .status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "the client: {status:?}");
        if vm_kernel().is_some() {
            wait_until_quiet(&fixture);
        }
    };
    let idle = Left::of(&fixture);
    // Everything that stays has been used once.
    client(WARM_UP, "600");
    let used = Left::used_since(&idle, &fixture);
    match env::var(SECONDS) {
        Ok(seconds) => client(u64::MAX, &seconds),
        Err(_) => client(SHORT, "600"),
    }
    println!("{used:?} before, {:?} after", Left::no_more_than(&used, &fixture));
}

fn content() -> Vec<u8> {
    Random::new(SEED).bytes(LEN as usize)
}

/// The process that makes the transactions.
struct Client {
    service: Strong<dyn IDmabufIo>,
    dir: PathBuf,
    heap: Heap,
}

impl Client {
    fn new(dir: PathBuf) -> Self {
        let service = match vm_kernel() {
            Some(_) => lookup_within(INSTANCE, LONGEST),
            None => connect_socket(&dir.join("socket")),
        };
        let service = service.unwrap_or_else(|status| panic!("{}", describe(&status)));
        Self { service, dir, heap: vm_heap().unwrap_or(Heap::Memfd) }
    }

    /// Makes `count` transactions, or fewer if `time` is over.
    fn run(&self, count: u64, time: Duration) {
        let start = Instant::now();
        let told: Told = scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let fuzzer = Fuzzer::new(self, SEED + thread);
                    // Where SELinux refuses a kind of descriptor, it is this thread's fault.
                    let builder = Builder::new().name("refused".to_owned());
                    let run = move || fuzzer.run(count / THREADS, start + time);
                    builder.spawn_scoped(scope, run).expect("a thread")
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no failure")).sum()
        });
        eprintln!("seed {SEED}: {told:?} in {:?}", start.elapsed());
        let each = told.transactions / 200;
        let kinds = [told.done, told.refused, told.not_understood, told.oneway];
        assert!(kinds.iter().all(|count| *count > each), "hardly any of a kind: {told:?}");
        self.assert_has_room();
    }

    fn allocate(&self) -> OwnedFd {
        let desc = BufferDesc { size: LEN, tag: "fuzz".to_owned() };
        duplicate(&self.patiently(|| self.service.allocate(&desc)).fd)
    }

    /// The result of a call that may be refused while others have all the room.
    fn patiently<T>(&self, call: impl Fn() -> Result<T, Status>) -> T {
        let start = Instant::now();
        loop {
            match call() {
                Ok(result) => return result,
                Err(status) => {
                    assert!(start.elapsed() < LONGEST, "{}", describe(&status));
                }
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn load(&self, buffer: &OwnedFd) -> TransferRequest {
        let fd = Some(pfd(buffer.try_clone().expect("dup")));
        request(fd, File::open(self.dir.join("read")).expect("open"), &[(0, 0, LEN)])
    }

    /// Checks that the service does what it should.
    fn assert_loads(&self) {
        let buffer = self.allocate();
        let load = self.load(&buffer);
        assert_eq!(self.patiently(|| self.service.transfer(&load)).bytes, LEN);
        let filled = read_buffer(buffer.as_fd(), self.heap, LEN as usize);
        assert!(filled == content(), "the buffer differs");
    }

    /// Checks that this process can have as many batches as a user may have: none is left.
    fn assert_has_room(&self) {
        let buffer = self.allocate();
        let batch = SubmitRequest { transfers: vec![self.load(&buffer)], ..Default::default() };
        let submit = || self.patiently(|| self.service.submit(&batch));
        let batches: Vec<_> = (0..BATCHES).map(|_| submit()).collect();
        let status = self.service.submit(&batch).map(drop).expect_err("one more than a user has");
        assert!(describe(&status).contains("of this user are batches"), "{}", describe(&status));
        drop(batches);
    }
}

/// What the service said.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "printed")]
struct Told {
    transactions: u64,
    done: u64,
    /// With an exception.
    refused: u64,
    /// With the status of a parcel or code that makes no sense.
    not_understood: u64,
    /// Nothing, because nobody waited.
    oneway: u64,
    slowest: Duration,
}

impl Sum for Told {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            transactions: a.transactions + b.transactions,
            done: a.done + b.done,
            refused: a.refused + b.refused,
            not_understood: a.not_understood + b.not_understood,
            oneway: a.oneway + b.oneway,
            slowest: a.slowest.max(b.slowest),
        })
    }
}

/// A thread that makes transactions.
struct Fuzzer<'a> {
    client: &'a Client,
    seed: u64,
    random: RandomParcels,
    /// The service, a batch and a stream, each with the number of its methods.
    objects: Vec<(SpIBinder, u32)>,
}

impl<'a> Fuzzer<'a> {
    fn new(client: &'a Client, seed: u64) -> Self {
        let written = client.dir.join(format!("written-{seed}"));
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let saved = options.open(&written).expect("create");
        remove_file(written).expect("remove");
        let source = File::open(client.dir.join("read")).expect("open");
        let binder = client.service.as_binder();
        let descriptors = [client.allocate(), source.into(), saved.into()];
        let random = RandomParcels::new(seed, descriptors, binder.clone());
        Self { client, seed, random, objects: vec![(binder, METHODS[0])] }
    }

    fn run(mut self, count: u64, end: Instant) -> Told {
        let mut told = Told::default();
        while told.transactions < count && Instant::now() < end {
            if told.transactions % 64 == 0 {
                self.open();
            }
            if told.transactions % 1024 == 0 {
                self.client.assert_loads();
            }
            self.transact(&mut told);
        }
        told
    }

    /// Gets a batch and a stream, if the service has room.
    fn open(&mut self) {
        let service = &self.client.service;
        self.objects.truncate(1);
        let batch = SubmitRequest { transfers: vec![self.random.transfer()], ..Default::default() };
        let batch = service.submit(&batch).ok().map(|batch| (batch.as_binder(), METHODS[1]));
        let stream = service.openStream(&self.random.stream(), &[]).ok();
        let stream = stream.map(|stream| (stream.as_binder(), METHODS[2]));
        self.objects.extend(batch.into_iter().chain(stream));
        for (object, methods) in &self.objects {
            let remote = object.as_remote().expect("of another process");
            let parcel = remote.prepare_transact(true).expect("a parcel");
            let answer = remote.submit_transact(FIRST_CALL_TRANSACTION + methods, &parcel, 0);
            let unknown = matches!(answer, Err(StatusCode::UnknownTransaction));
            assert!(unknown, "the interface has more methods than {METHODS:?} says");
        }
    }

    fn transact(&mut self, told: &mut Told) {
        let on = self.random.below(self.objects.len() + 1).saturating_sub(1);
        let (object, methods) = self.objects[on].clone();
        let mut code = FIRST_CALL_TRANSACTION + self.random.below(methods as usize) as u32;
        let remote = object.as_remote().expect("of another process");
        let mut parcel = remote.prepare_transact(!self.random.one_in(50)).expect("a parcel");
        let sense = on == 0 && !self.random.one_in(4);
        // Hardly any method looks at the rest of a parcel for another interface.
        let from = if self.random.one_in(20) { 0 } else { parcel.data_size() };
        // A parcel ends where a descriptor would have to be and is not.
        let _ =
            if sense { self.random.valid(code, &mut parcel) } else { self.random.any(&mut parcel) };
        let changes = if self.random.one_in(3) { 0 } else { self.random.below(4) };
        self.random.change(&mut parcel, from, changes);
        if self.random.one_in(30) {
            code = self.random.code();
        }
        let oneway = self.random.one_in(16);
        let flags = if oneway { FLAG_ONEWAY } else { 0 };
        let flags = if self.random.one_in(16) { flags | FLAG_CLEAR_BUF } else { flags };
        let start = Instant::now();
        let answer = remote.submit_transact(code, &parcel, flags);
        let time = start.elapsed();
        let what = format!(
            "seed {}, transaction {}: code {code:#x}, flags {flags:#x}, object {on}, {} bytes",
            self.seed,
            told.transactions,
            parcel.data_size()
        );
        assert!(time < LONGEST, "{what}: {time:?}");
        told.transactions += 1;
        told.slowest = told.slowest.max(time);
        match answer {
            Ok(None) => told.oneway += 1,
            Ok(Some(mut reply)) => match reply.read::<Status>() {
                Ok(status) if status.is_ok() => told.done += 1,
                Ok(status) => {
                    let message = status.message().unwrap_or_default().to_owned();
                    assert!(!message.contains("panicked"), "{what}: {message}");
                    told.refused += 1;
                }
                // The answer to a code of binder's own.
                Err(_) => told.done += 1,
            },
            // These say that there is no service, and that its method has panicked.
            Err(status @ (StatusCode::DeadObject | StatusCode::Unknown)) => {
                panic!("{what}: {status:?}")
            }
            Err(_) => told.not_understood += 1,
        }
    }
}

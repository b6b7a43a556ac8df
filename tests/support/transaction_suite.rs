//! Random transactions at the service: on this host over a Unix socket with the embedded heap
//! (`transactions.rs`), in the VM over kernel binder with the system heap (`vm_transactions.rs`).
//! Valid requests with some words changed, and parcels without any sense. Whatever comes: the
//! service lives, answers, does not panic, and has nothing left of it.

use crate::support::fixture::{duplicate, list, request, Fixture};
use crate::support::left::{wait_until_quiet, Left};
use crate::support::{fuzz_time, read_buffer, vm_kernel, Random};
use binder_shim::{connect_socket, pfd, ParcelFileDescriptor, SpIBinder, Strong};
use rsbinder::{
    Parcel, Status, StatusCode, TransactionCode, FIRST_CALL_TRANSACTION, FLAG_CLEAR_BUF,
    FLAG_ONEWAY, LAST_CALL_TRANSACTION, PING_TRANSACTION,
};
use rustix::event::{eventfd, EventfdFlags};
use rustix::pipe::pipe;
use std::fs::{remove_file, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, Direction::Direction, Durability::Durability, Extent::Extent,
    IDmabufIo::IDmabufIo, LoadItem::LoadItem, LoadRequest::LoadRequest, Mode::Mode,
    Priority::Priority, StreamRequest::StreamRequest, SubmitRequest::SubmitRequest,
    TransferRequest::TransferRequest,
};

const SEED: u64 = 20_261_129;

/// Transactions of each thread, unless there is a time.
const SHORT: u64 = 2_500;

/// As many as a socket client can have in flight.
const THREADS: u64 = 4;

/// The size of the file and of the buffer.
const LEN: i64 = 64 << 10;

/// No request waits for longer than this for a file that does not stall.
const LONGEST: Duration = Duration::from_secs(10);

/// The methods of the service, of a batch and of a stream.
const METHODS: [u32; 3] = [7, 4, 10];

/// The codes of submit() and openStream().
const OBJECTS: [TransactionCode; 2] = [FIRST_CALL_TRANSACTION + 5, FIRST_CALL_TRANSACTION + 6];

#[test]
fn random_transactions_neither_stop_the_service_nor_stay_in_it() {
    // A transaction can ask for all memory, which takes long to clear on a large host.
    let fixture = match vm_kernel() {
        Some(_) => Fixture::new(),
        None => Fixture::start(&["--quota", "all:bytes=64M"]),
    };
    let run = |count: u64, end: Option<Instant>| {
        // Over a socket, a connection of their own: the library keeps what a client has not given
        // back, and raw transactions give back too little, until the connection ends.
        let service = match vm_kernel() {
            Some(_) => fixture.service.clone(),
            None => connect_socket(&fixture.dir.path().join("socket")).expect("a connection"),
        };
        scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let fuzzer = Fuzzer::new(&fixture, &service, SEED + thread);
                    scope.spawn(move || fuzzer.run(count, end))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no failure")).sum::<Told>()
        })
    };
    // Everything that stays has been used once.
    run(SHORT / 2, None);
    let before = quiet(&fixture);
    let start = Instant::now();
    let told = match fuzz_time() {
        Some(time) => run(u64::MAX, Some(start + time)),
        None => run(SHORT, None),
    };
    println!("seed {SEED}: {told:?} in {:?}", start.elapsed());
    if vm_kernel().is_some() {
        wait_until_quiet(&fixture);
    }
    let after = Left::no_more_than(&before, &fixture);
    println!("{before:?} before, {after:?} after");
    let each = told.transactions / 200;
    let kinds = [told.done, told.refused, told.not_understood, told.oneway];
    assert!(kinds.iter().all(|count| *count > each), "hardly any of a kind: {told:?}");
    assert_loads(&fixture, "checked");
}

/// What is there once nobody wants anything. Oneway calls may come late.
fn quiet(fixture: &Fixture) -> Left {
    match vm_kernel() {
        Some(_) => wait_until_quiet(fixture),
        None => sleep(Duration::from_secs(1)),
    }
    Left::of(fixture)
}

/// Checks that the service does what it should.
fn assert_loads(fixture: &Fixture, name: &str) {
    let (path, content) = fixture.file(name, LEN as usize);
    let buffer = fixture.allocate(LEN);
    let start = Instant::now();
    loop {
        let fd = Some(pfd(duplicate(&buffer.fd)));
        let load = request(fd, File::open(&path).expect("open"), &[(0, 0, LEN)]);
        match fixture.service.transfer(&load) {
            Ok(receipt) => break assert_eq!(receipt.bytes, LEN),
            // Oneway calls of before may run still.
            Err(status) => assert!(start.elapsed() < LONGEST, "{status:?}"),
        }
        sleep(Duration::from_millis(20));
    }
    let filled = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, LEN as usize);
    assert!(filled == content, "the buffer differs");
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

impl std::iter::Sum for Told {
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
    fixture: &'a Fixture,
    service: &'a Strong<dyn IDmabufIo>,
    seed: u64,
    random: Random,
    /// The service, a batch and a stream.
    objects: Vec<SpIBinder>,
    /// A buffer, a file to read, one to write, and what is neither.
    descriptors: Vec<OwnedFd>,
}

impl<'a> Fuzzer<'a> {
    fn new(fixture: &'a Fixture, service: &'a Strong<dyn IDmabufIo>, seed: u64) -> Self {
        let (path, _) = fixture.file(&format!("read-{seed}"), LEN as usize);
        let written = fixture.dir.path().join(format!("written-{seed}"));
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let saved = options.open(&written).expect("create");
        remove_file(written).expect("remove");
        let (reader, writer) = pipe().expect("pipe");
        // Nobody reads what a transaction makes the service write there.
        let descriptors = vec![
            duplicate(&fixture.allocate(LEN).fd),
            File::open(path).expect("open").into(),
            saved.into(),
            reader,
            writer,
            eventfd(0, EventfdFlags::CLOEXEC).expect("eventfd"),
            File::open("/dev/null").expect("open").into(),
            File::open("/").expect("open").into(),
        ];
        let objects = vec![service.as_binder()];
        Self { fixture, service, seed, random: Random::new(seed), objects, descriptors }
    }

    fn run(mut self, count: u64, end: Option<Instant>) -> Told {
        let mut told = Told::default();
        while told.transactions < count && end.is_none_or(|end| Instant::now() < end) {
            if told.transactions % 64 == 0 {
                self.open();
            }
            if told.transactions % 1024 == 0 {
                assert_loads(self.fixture, &format!("checked-{}", self.seed));
            }
            self.transact(&mut told);
        }
        told
    }

    /// Gets a batch and a stream, if the service has room.
    fn open(&mut self) {
        let service = self.service;
        self.objects.truncate(1);
        let batch = SubmitRequest { transfers: vec![self.transfer()], ..Default::default() };
        self.objects.extend(service.submit(&batch).ok().map(|batch| batch.as_binder()));
        let stream = self.stream();
        self.objects.extend(service.openStream(&stream, &[]).ok().map(|stream| stream.as_binder()));
    }

    fn transact(&mut self, told: &mut Told) {
        let on = self.below(self.objects.len() + 1).saturating_sub(1);
        let methods = METHODS[on];
        let mut code = FIRST_CALL_TRANSACTION + self.below(methods as usize) as u32;
        let object = self.objects[on].clone();
        let remote = object.as_remote().expect("of another process");
        let mut parcel = remote.prepare_transact(!self.one_in(50)).expect("a parcel");
        let sense = on == 0 && !self.one_in(4);
        // Hardly any method looks at the rest of a parcel for another interface.
        let from = if self.one_in(20) { 0 } else { parcel.data_size() };
        // A parcel ends where a descriptor would have to be and is not.
        let _ = if sense { self.valid(code, &mut parcel) } else { self.any(&mut parcel) };
        let changes = if self.one_in(3) { 0 } else { self.below(4) };
        self.change(&mut parcel, from, changes);
        if self.one_in(30) {
            code = self.code();
        }
        let oneway = self.one_in(16);
        let flags = if oneway { FLAG_ONEWAY } else { 0 };
        let flags = if self.one_in(16) { flags | FLAG_CLEAR_BUF } else { flags };
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
                Ok(status) if status.is_ok() => {
                    // Over a socket, an object that comes back is kept for us until we drop it.
                    if on == 0 && OBJECTS.contains(&code) {
                        drop(reply.read::<SpIBinder>().expect("a batch or a stream"));
                    }
                    told.done += 1;
                }
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

    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit as u64) as usize
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// A code that may name no method.
    fn code(&mut self) -> TransactionCode {
        match self.below(4) {
            0 => FIRST_CALL_TRANSACTION + self.below(20) as u32,
            1 => LAST_CALL_TRANSACTION - self.below(8) as u32,
            2 => PING_TRANSACTION,
            _ => self.random.next() as u32,
        }
    }

    /// A number that somebody may have forgotten to think of, or a small one.
    fn word(&mut self) -> i32 {
        match self.below(8) {
            0 => 0,
            1 => -1,
            2 => i32::MAX,
            3 => i32::MIN + self.below(3) as i32,
            4 => self.below(8) as i32 * 4096,
            5 => self.below(4) as i32,
            6 => self.below(1 << 18) as i32,
            _ => !(self.below(1 << 31) as i32),
        }
    }

    fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => i64::from(self.word()),
            1 => i64::MAX - self.below(5000) as i64,
            2 => self.below(17) as i64 * 4096,
            3 => self.below(4) as i64,
            _ => self.below(LEN as usize + 1) as i64,
        }
    }

    fn descriptor(&mut self) -> Option<ParcelFileDescriptor> {
        let which = self.below(self.descriptors.len());
        Some(pfd(self.descriptors[which].try_clone().expect("dup")))
    }

    /// One that makes sense, most of the time.
    fn descriptor_for(&mut self, which: usize) -> Option<ParcelFileDescriptor> {
        match self.below(16) {
            0 => None,
            1 => self.descriptor(),
            _ => Some(pfd(self.descriptors[which].try_clone().expect("dup"))),
        }
    }

    fn extents(&mut self) -> Vec<Extent> {
        let count = if self.one_in(8) { self.below(40) } else { 1 + self.below(2) };
        let extents: Vec<_> =
            (0..count).map(|_| (self.number(), self.number(), self.number())).collect();
        if self.one_in(2) {
            return list(&[(0, 0, LEN)]);
        }
        list(&extents)
    }

    fn direction(&mut self) -> Direction {
        [Direction::LOAD, Direction::SAVE][self.below(2)]
    }

    fn mode(&mut self) -> Mode {
        [Mode::AUTO, Mode::AUTO, Mode::DIRECT, Mode::BUFFERED, Mode(self.word())][self.below(5)]
    }

    fn priority(&mut self) -> Priority {
        Priority(self.below(4) as i32)
    }

    fn transfer(&mut self) -> TransferRequest {
        let direction = self.direction();
        let file = if direction == Direction::SAVE { 2 } else { 1 };
        TransferRequest {
            buffer: self.descriptor_for(0),
            file: self.descriptor_for(file),
            extents: self.extents(),
            direction,
            mode: self.mode(),
            priority: self.priority(),
            durability: Durability(self.below(3) as i32),
            tag: self.text(),
        }
    }

    fn load(&mut self) -> LoadRequest {
        let items = self.below(4);
        let items = (0..items)
            .map(|_| LoadItem { size: self.number().min(1 << 20), extents: self.extents() })
            .collect();
        LoadRequest {
            file: self.descriptor_for(1),
            items,
            mode: self.mode(),
            priority: self.priority(),
            tag: self.text(),
        }
    }

    fn stream(&mut self) -> StreamRequest {
        StreamRequest {
            file: self.descriptor_for(1),
            direction: if self.one_in(4) { Direction::SAVE } else { Direction::LOAD },
            mode: self.mode(),
            priority: self.priority(),
            durability: Durability::NONE,
            offset: self.number(),
            frameBytes: 1 + self.below(1 << 16) as i64,
            bufferCount: self.below(4) as i32,
            tag: self.text(),
        }
    }

    fn text(&mut self) -> String {
        ["", "fuzz", "not\nprintable", "\u{1f4a9}"][self.below(4)].to_owned()
    }

    /// The arguments of a method of the service.
    fn valid(&mut self, code: TransactionCode, parcel: &mut Parcel) -> Result<(), StatusCode> {
        match code - FIRST_CALL_TRANSACTION {
            0 => Ok(()),
            1 => parcel.write(&BufferDesc { size: self.number().min(1 << 20), tag: self.text() }),
            2 => {
                parcel.write(&self.descriptor_for(1))?;
                parcel.write(&self.extents()[..])
            }
            3 => parcel.write(&self.transfer()),
            4 => parcel.write(&self.load()),
            5 => {
                let (loads, transfers) = (self.below(3), self.below(3));
                parcel.write(&SubmitRequest {
                    loads: (0..loads).map(|_| self.load()).collect(),
                    transfers: (0..transfers).map(|_| self.transfer()).collect(),
                })
            }
            _ => {
                parcel.write(&self.stream())?;
                let count = self.below(3);
                let buffers: Vec<_> = (0..count).flat_map(|_| self.descriptor_for(0)).collect();
                parcel.write(&buffers[..])
            }
        }
    }

    /// Arguments of no method, or of one with numbers only.
    fn any(&mut self, parcel: &mut Parcel) -> Result<(), StatusCode> {
        for _ in 0..self.below(12) {
            match self.below(6) {
                0 => parcel.write(&self.number())?,
                1 => parcel.write(&self.text())?,
                2 => parcel.write(&self.descriptor())?,
                3 => parcel.write(&self.objects[0])?,
                _ => parcel.write(&self.word())?,
            }
        }
        Ok(())
    }

    /// Changes words of a parcel, behind `from`.
    fn change(&mut self, parcel: &mut Parcel, from: usize, count: usize) {
        let size = parcel.data_size();
        for _ in 0..count {
            parcel.set_data_position(from + self.below((size - from) / 4 + 1) * 4);
            // The library lets nobody change its descriptors and binders, which it has to close.
            match parcel.write(&self.word()) {
                Ok(()) | Err(StatusCode::PermissionDenied) => {}
                Err(status) => panic!("a word of a parcel: {status:?}"),
            }
        }
        parcel.set_data_position(size);
    }
}

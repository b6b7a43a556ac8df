//! Files and buffers that direct I/O cannot take as they are, each in every mode: what happens is
//! what the table of `docs/fallbacks.md` says, the prediction says the same before, the data is
//! right, and the page cache agrees with the receipt.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_core::buffer::Buffer;
use dmabufio_core::error::{Error, Result};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::file::{cached_pages, RegularFile};
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Mode;
use dmabufio_core::probe;
use dmabufio_core::sys::ioctl::heap_alloc;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::receipt::Receipt;
use dmabufio_core::transfer::{transfer, Durability, Request};
use rustix::fs::{fallocate, FallocateFlags, OFlags};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use support::attachment::Attachment;
use support::device::run;
use support::disks::{encrypt, Disks};
use support::{
    allocate, heaps, is_patched, make_cold, open, read_buffer, vm_kernel, write_buffer, Descriptor,
    Random, PAGE,
};

const TABLE: &str = include_str!("../docs/fallbacks.md");
/// The fixture of the row for all that have none of their own.
const OTHERS: &str = "every other";

/// The set-up with buffers of ordinary pages and descriptors with `O_DIRECT`, for direct I/O through
/// a mapping. It is the same on all kernels.
const PAGES: &str = "pages";

const LEN: u64 = 256 << 10;
const MODES: [Mode; 3] = [Mode::Direct, Mode::Buffered, Mode::Auto];

/// A file or a buffer with a trait that matters to direct I/O.
#[derive(Clone, Copy)]
struct Fixture {
    name: &'static str,
    file_systems: &'static [&'static str],
    directions: &'static [Direction],
    extent: Extent,
    /// Extra flags of the client's descriptor.
    flags: OFlags,
    heap: Heap,
    buffer: BufferKind,
    cache: Cache,
    /// Makes the file, mostly of [`Fixture::content`].
    make: fn(&Fixture, &mut Disks, &'static str, &str) -> PathBuf,
    /// What somebody else does to the file meanwhile.
    meanwhile: Option<fn(&File)>,
}

#[derive(Clone, Copy, PartialEq)]
enum BufferKind {
    Ordinary,
    Attached,
    ReadOnly,
}

#[derive(Clone, Copy, PartialEq)]
enum Cache {
    Cold,
    Clean,
    Dirty,
}

const BOTH: &[&str] = &["f2fs", "ext4"];
const LOAD: &[Direction] = &[Direction::Load];
const LOAD_AND_SAVE: &[Direction] = &[Direction::Load, Direction::Save];

const fn extent(file_offset: u64, buffer_offset: u64, len: u64) -> Extent {
    Extent { file_offset, buffer_offset, len }
}

const PLAIN: Fixture = Fixture {
    name: "aligned",
    file_systems: &[
        "f2fs",
        "f2fs, 512-byte sectors",
        "ext4",
        "ext4, 4096-byte sectors",
        "tmpfs",
        "overlayfs on f2fs",
        "overlayfs on ext4",
    ],
    directions: LOAD_AND_SAVE,
    extent: extent(0, 0, LEN),
    flags: OFlags::empty(),
    heap: Heap::System,
    buffer: BufferKind::Ordinary,
    cache: Cache::Cold,
    make: |fixture, disks, on, name| disks.file(on, name, &fixture.content()),
    meanwhile: None,
};

const FIXTURES: &[Fixture] = &[
    PLAIN,
    Fixture {
        file_systems: &["erofs", "erofs lz4", "erofs without a device", "FUSE"],
        directions: LOAD,
        ..PLAIN
    },
    Fixture {
        name: "unaligned edges",
        file_systems: BOTH,
        extent: extent(4095, 8191, LEN - 5000),
        ..PLAIN
    },
    Fixture {
        name: "shifted in the page",
        file_systems: BOTH,
        extent: extent(1, 0, LEN - 5000),
        ..PLAIN
    },
    Fixture { name: "hole", file_systems: BOTH, make: hole, ..PLAIN },
    Fixture { name: "unwritten", file_systems: BOTH, make: unwritten, ..PLAIN },
    Fixture { name: "cached", file_systems: BOTH, cache: Cache::Clean, ..PLAIN },
    Fixture { name: "dirty", file_systems: BOTH, cache: Cache::Dirty, ..PLAIN },
    Fixture {
        name: "verity",
        file_systems: BOTH,
        directions: LOAD,
        make: |fixture, disks, on, name| {
            let path = (PLAIN.make)(fixture, disks, on, name);
            run(Command::new("fsverity").arg("enable").arg(&path));
            path
        },
        ..PLAIN
    },
    Fixture { name: "compressed", file_systems: &["f2fs"], make: compressed, ..PLAIN },
    Fixture { name: "inline data", file_systems: &["f2fs"], extent: extent(0, 0, 3000), ..PLAIN },
    Fixture {
        name: "inline data",
        file_systems: &["ext4, inline_data"],
        extent: extent(0, 0, 100),
        ..PLAIN
    },
    Fixture {
        name: "inline data, longer save",
        file_systems: &["f2fs", "ext4, inline_data"],
        directions: &[Direction::Save],
        make: |_, disks, on, name| disks.file(on, name, &[7; 100]),
        ..PLAIN
    },
    Fixture {
        name: "encrypted",
        file_systems: &[
            "f2fs, 512-byte sectors",
            "f2fs, inlinecrypt",
            "ext4, 4096-byte sectors",
            "ext4, inlinecrypt",
        ],
        make: encrypted,
        ..PLAIN
    },
    Fixture {
        name: "grows meanwhile",
        file_systems: BOTH,
        directions: LOAD,
        make: short,
        meanwhile: Some(grow),
        ..PLAIN
    },
    Fixture {
        name: "shrinks meanwhile",
        file_systems: BOTH,
        directions: LOAD,
        meanwhile: Some(shrink),
        ..PLAIN
    },
    Fixture {
        name: "opened with O_DIRECT",
        file_systems: &["f2fs", "ext4", "overlayfs on f2fs", "overlayfs on ext4"],
        flags: OFlags::DIRECT,
        ..PLAIN
    },
    Fixture { name: "opened with O_APPEND", file_systems: BOTH, flags: OFlags::APPEND, ..PLAIN },
    Fixture { name: "read-only buffer", file_systems: BOTH, buffer: BufferKind::ReadOnly, ..PLAIN },
];

/// Needs the importer of the patched kernel.
const ATTACHED: Fixture =
    Fixture { name: "attached buffer", file_systems: BOTH, buffer: BufferKind::Attached, ..PLAIN };

fn hole(_: &Fixture, disks: &mut Disks, on: &'static str, name: &str) -> PathBuf {
    let path = disks.folder(on).join(name);
    let file = File::create(&path).expect("create");
    file.set_len(LEN).expect("truncate");
    // Data in the middle: holes on both sides of it.
    file.write_all_at(&Random::new(3).bytes(8192), LEN / 2).expect("write");
    path
}

fn unwritten(_: &Fixture, disks: &mut Disks, on: &'static str, name: &str) -> PathBuf {
    let path = disks.folder(on).join(name);
    let file = File::create(&path).expect("create");
    fallocate(&file, FallocateFlags::empty(), 0, LEN).expect("fallocate");
    path
}

fn compressed(fixture: &Fixture, disks: &mut Disks, on: &'static str, name: &str) -> PathBuf {
    let path = disks.folder(on).join(name);
    let file = File::create(&path).expect("create");
    run(Command::new("chattr").arg("+c").arg(&path));
    file.write_all_at(&fixture.content(), 0).expect("write");
    path
}

fn encrypted(fixture: &Fixture, disks: &mut Disks, on: &'static str, name: &str) -> PathBuf {
    let dir = disks.folder(on).join("encrypted");
    if !dir.exists() {
        fs::create_dir(&dir).expect("mkdir");
        encrypt(&dir);
    }
    let path = dir.join(name);
    fs::write(&path, fixture.content()).expect("write");
    path
}

/// What a file that grows or shrinks has before or after that.
const SHORT: u64 = 100_001;

fn short(fixture: &Fixture, disks: &mut Disks, on: &'static str, name: &str) -> PathBuf {
    let path = disks.folder(on).join(name);
    fs::write(&path, &fixture.content()[..SHORT as usize]).expect("write");
    path
}

fn grow(file: &File) {
    file.set_len(LEN).expect("truncate");
}

fn shrink(file: &File) {
    file.set_len(SHORT).expect("truncate");
}

impl Fixture {
    /// Compressible, and different everywhere.
    fn content(&self) -> Vec<u8> {
        let mut content = Random::new(1).bytes(self.extent.file_end().min(LEN) as usize);
        for page in content.chunks_mut(PAGE as usize) {
            let half = page.len() / 2;
            page[half..].fill(0);
        }
        content
    }

    /// The same file, for direct I/O through a mapping of a buffer of `heap`; none where that is
    /// nothing new.
    fn with_pages(&self, heap: Heap) -> Option<Self> {
        let new = self.buffer == BufferKind::Ordinary && !self.flags.contains(OFlags::DIRECT);
        new.then_some(Self { heap, flags: self.flags | OFlags::DIRECT, ..*self })
    }

    /// Where it is made, and which ways it is transferred.
    fn places(&self) -> impl Iterator<Item = (&'static str, Direction)> {
        let Self { file_systems, directions, flags, .. } = *self;
        let file_systems = file_systems.iter().copied().filter(move |on| Disks::has(on, flags));
        file_systems.flat_map(move |on| directions.iter().map(move |direction| (on, *direction)))
    }

    /// A buffer full of a pattern, unless nothing can be written to it.
    fn buffer(&self) -> (OwnedFd, Vec<u8>) {
        let size = LEN + 2 * PAGE;
        if self.buffer == BufferKind::ReadOnly {
            let heap = File::open("/dev/dma_heap/system").expect("the system heap");
            let fd = heap_alloc(heap.as_fd(), size, OFlags::RDONLY, 0).expect("allocate");
            return (fd, vec![0; size as usize]);
        }
        let fd = allocate(self.heap, size);
        let pattern = Random::new(2).bytes(size as usize);
        write_buffer(fd.as_fd(), self.heap, &pattern);
        (fd, pattern)
    }

    /// Brings the page cache of a file into the state that this fixture is about, and returns what
    /// the file has.
    fn settle(&self, path: &Path) -> Vec<u8> {
        make_cold(path);
        let mut content = fs::read(path).expect("read");
        match self.cache {
            Cache::Cold => make_cold(path),
            Cache::Clean => {}
            Cache::Dirty => {
                // Other than what the disk has.
                content.reverse();
                open(path, OFlags::RDWR).write_all_at(&content, 0).expect("write");
            }
        }
        content
    }
}

/// One transfer of a fixture.
struct Case<'a> {
    fixture: &'a Fixture,
    on: &'static str,
    direction: Direction,
    mode: Mode,
}

/// What holds, or else what is wrong.
type Check<T> = std::result::Result<T, String>;

/// Transfers, and says how it went in the words of the table, or what is wrong with it.
fn check(case: &Case<'_>, disks: &mut Disks) -> Check<String> {
    let Case { fixture, on, direction, mode } = *case;
    let name = format!("{}-{}-{direction:?}-{mode:?}", fixture.name, fixture.heap);
    let name = name.replace(' ', "-");
    let path = (fixture.make)(fixture, disks, on, &name);
    let real = |layer| disks.below(on, layer, &name).unwrap_or_else(|| path.clone());
    let access = match direction {
        Direction::Load if fixture.flags.contains(OFlags::APPEND) => OFlags::RDWR,
        Direction::Load => OFlags::RDONLY,
        Direction::Save => OFlags::WRONLY,
    };
    let file = open(&path, access | fixture.flags);
    // The page cache of an overlay is that of the layer below.
    let holder = match direction {
        Direction::Load => real("lower"),
        Direction::Save => real("upper"),
    };
    let mut content = fixture.settle(&holder);
    let holder = File::open(holder).expect("open");
    let before = Descriptor::at(&file, 4242);
    let (buffer, mut bytes) = fixture.buffer();
    let _attachment = (fixture.buffer == BufferKind::Attached).then(|| Attachment::new(&buffer));

    let cached = || cached_pages(holder.as_fd(), 0, 0).expect("cachestat");
    let cached_before = cached();
    let predicted = predict(case, &buffer, &file);
    let outcome = thread::scope(|scope| {
        if let Some(meanwhile) = fixture.meanwhile {
            let writer = open(&path, OFlags::RDWR);
            scope.spawn(move || {
                thread::sleep(Duration::from_micros(300));
                meanwhile(&writer);
            });
        }
        attempt(case, &buffer, &file)
    });
    let growth = cached() as i64 - cached_before as i64;

    if fixture.meanwhile.is_none() {
        agree(&predicted, &outcome)?;
    }
    ensure(Descriptor::of(&file) == before, || "the descriptor has changed".into())?;
    drop(file);
    let said = outcome.as_ref().map_or_else(kind, said);
    let receipt = outcome.unwrap_or_default();
    case.check_receipt(&receipt, growth)?;

    let all = read_buffer(buffer.as_fd(), fixture.heap, bytes.len());
    let Extent { file_offset, buffer_offset, .. } = fixture.extent;
    let moved = receipt.bytes() as usize;
    let in_file = file_offset as usize..file_offset as usize + moved;
    let in_buffer = buffer_offset as usize..buffer_offset as usize + moved;
    // As far as it has grown.
    content.resize(content.len().max(in_file.end), 0);
    match direction {
        Direction::Load if fixture.meanwhile.is_some() => {
            // The rest of the extent is anything between the old and the new state. So are bytes
            // that only one of them has: a read that has begun sees them, or the zeros that a
            // change of the size puts there.
            let both = SHORT.saturating_sub(file_offset);
            let right =
                |(i, (got, had)): (usize, (&u8, &u8))| got == had || *got == 0 && i as u64 >= both;
            let right = all[in_buffer].iter().zip(&content[in_file]).enumerate().all(right);
            ensure(right, || "the buffer differs from the file".into())?;
        }
        Direction::Load => {
            bytes[in_buffer].copy_from_slice(&content[in_file]);
            ensure(all == bytes, || "the buffer has other bytes than it should".into())?;
        }
        Direction::Save => {
            content[in_file].copy_from_slice(&bytes[in_buffer]);
            make_cold(&path);
            let back = fs::read(&path).expect("read back");
            ensure(back == content, || "the file has other bytes than it should".into())?;
            ensure(all == bytes, || "a save has written to the buffer".into())?;
        }
    }
    Ok(said)
}

/// Whether what was predicted has happened.
fn agree(predicted: &Result<ExtentPlan>, outcome: &Result<Receipt>) -> Check<()> {
    let foretold = predicted.as_ref().map_or_else(kind, told);
    let happened = outcome.as_ref().map_or_else(kind, said);
    ensure(foretold == happened, || format!("{happened}, but the prediction was {foretold}"))?;
    if let (Ok(plan), Ok(receipt)) = (predicted, outcome) {
        let plan = (plan.direct, plan.bounced, plan.buffered);
        let counts = (receipt.direct, receipt.bounced, receipt.buffered);
        ensure(plan == counts, || format!("moved {counts:?}, predicted {plan:?}"))?;
    }
    Ok(())
}

impl Case<'_> {
    /// Whether a receipt can be true, of which an error has the empty one. `growth` is by how many
    /// pages of the file the page cache has grown.
    fn check_receipt(&self, receipt: &Receipt, growth: i64) -> Check<()> {
        let Case { fixture, on, direction, mode } = *self;
        let moved = receipt.bytes();
        let whole = moved == fixture.extent.len || moved == 0;
        ensure(whole || fixture.meanwhile.is_some(), || format!("moved {moved} bytes"))?;
        ensure(moved <= fixture.extent.len, || format!("moved {moved} bytes"))?;
        ensure(mode != Mode::Direct || receipt.buffered == 0, || format!("copied: {receipt:?}"))?;
        ensure(mode != Mode::Buffered || receipt.direct == 0, || format!("direct: {receipt:?}"))?;
        // Copies of edges are read ahead, so pages in the cache prove nothing.
        if receipt.bounced > 0 || fixture.meanwhile.is_some() {
            return Ok(());
        }
        // The page cache of an overlay is not its own.
        let checkable = direction == Direction::Load
            && fixture.cache == Cache::Cold
            && !on.starts_with("overlayfs");
        ensure(receipt.checked == (checkable && receipt.direct > 0), || {
            format!("checked or not: {receipt:?}")
        })?;
        if receipt.buffered == 0 {
            return ensure(growth <= 0, || format!("not copied, but {growth} pages cached"));
        }
        // tmpfs is nothing but page cache; O_DIRECT goes past it also when it has to be copied. What
        // a load in mode AUTO brought in is dropped again.
        let shows = fixture.cache == Cache::Cold
            && on != "tmpfs"
            && !(mode == Mode::Auto && direction == Direction::Load)
            && !fixture.flags.contains(OFlags::DIRECT);
        ensure(growth > 0 || !shows, || format!("copied, but {growth} pages cached"))
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Check<()> {
    holds.then_some(()).ok_or_else(why)
}

fn attempt(case: &Case<'_>, buffer: &OwnedFd, file: &File) -> Result<Receipt> {
    transfer(&Request {
        buffer: &Buffer::new(buffer.as_fd(), case.fixture.heap)?,
        file: &RegularFile::new(file.as_fd(), case.fixture.heap)?,
        extents: &[case.fixture.extent],
        direction: case.direction,
        mode: case.mode,
        durability: Durability::None,
    })
}

fn predict(case: &Case<'_>, buffer: &OwnedFd, file: &File) -> Result<ExtentPlan> {
    let buffer = Buffer::new(buffer.as_fd(), case.fixture.heap)?;
    buffer.check_access(case.direction)?;
    let file = RegularFile::new(file.as_fd(), case.fixture.heap)?;
    let support = probe::buffer(&buffer, case.direction)?;
    let plan = probe::plan(&file, &[case.fixture.extent], case.direction, case.mode, support)?;
    Ok(plan[0])
}

/// An outcome in the words of the table.
fn said(receipt: &Receipt) -> String {
    words(receipt.method.map(constant), receipt.first_fallback.map(constant))
}

fn told(plan: &ExtentPlan) -> String {
    words(plan.method.map(constant), plan.reason.map(constant))
}

fn kind(error: &Error) -> String {
    constant(error.kind())
}

fn words(method: Option<String>, reason: Option<String>) -> String {
    let words: Vec<String> = [method, reason].into_iter().flatten().collect();
    words.join(", ")
}

/// `RwFileDirect` as the interface writes it: `RW_FILE_DIRECT`.
fn constant(name: impl Debug) -> String {
    let mut constant = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_uppercase() && !constant.is_empty() {
            constant.push('_');
        }
        constant.extend(letter.to_uppercase());
    }
    constant
}

/// A row of the table.
#[derive(Debug, PartialEq)]
struct Row {
    fixture: &'static str,
    file_systems: Vec<&'static str>,
    setup: &'static str,
    directions: Vec<&'static str>,
    /// In the order of [`MODES`].
    outcomes: [&'static str; 3],
}

impl Row {
    fn is_for(&self, fixture: &str, on: &str, direction: Direction) -> bool {
        self.fixture == fixture
            && (self.file_systems.contains(&on) || fixture == OTHERS)
            && self.directions.contains(&name(direction))
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Load => "load",
        Direction::Save => "save",
    }
}

/// The rows of the only table with seven columns.
fn rows(text: &'static str) -> Vec<Row> {
    let cells = |line: &'static str| -> Vec<&str> {
        line.trim().trim_matches('|').split('|').map(str::trim).collect()
    };
    text.lines()
        .map(cells)
        .filter(|cells| cells.len() == 7)
        .skip_while(|cells| !cells[0].starts_with("---"))
        .skip(1)
        .map(|cells| Row {
            fixture: cells[0],
            file_systems: cells[1].split("; ").collect(),
            setup: cells[2],
            directions: cells[3].split("; ").collect(),
            outcomes: [cells[4], cells[5], cells[6]],
        })
        .collect()
}

#[test]
fn every_row_of_the_table_holds() {
    let kernel = vm_kernel().expect("this test is for the VM");
    let attached = is_patched().then_some(ATTACHED);
    let system = FIXTURES.iter().copied().chain(attached);
    let mut disks = Disks::new();
    let mut wrong = compare(&kernel, system, &mut disks);
    for heap in [Heap::Memfd, Heap::SystemDirect] {
        let pages = FIXTURES.iter().filter_map(|fixture| fixture.with_pages(heap));
        if heaps().contains(&heap) {
            wrong.extend(compare(PAGES, pages, &mut disks));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs fixtures and says what does not agree with the rows of `setup`.
fn compare(setup: &str, fixtures: impl Iterator<Item = Fixture>, disks: &mut Disks) -> Vec<String> {
    let table: Vec<Row> = rows(TABLE).into_iter().filter(|row| row.setup == setup).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for fixture in fixtures {
        for (on, direction) in fixture.places() {
            let of = |name| table.iter().position(|row| row.is_for(name, on, direction));
            let title = format!("{}, {on}, {setup}, {}", fixture.name, name(direction));
            let Some(row) = of(fixture.name).or_else(|| of(OTHERS)) else {
                wrong.push(format!("{title}: has no row"));
                continue;
            };
            seen.insert(row);
            for (mode, expected) in MODES.into_iter().zip(table[row].outcomes) {
                let case = Case { fixture: &fixture, on, direction, mode };
                // What cannot be asked of a memfd, the kernel of a dma-buf may not know at all.
                let outcome = match fixture.heap {
                    Heap::SystemDirect => {
                        check(&case, disks).map(|said| said.replace("NO_IOCTL", "EXPORTER"))
                    }
                    _ => check(&case, disks),
                };
                match outcome {
                    Ok(outcome) if outcome == expected => {}
                    Ok(outcome) => {
                        wrong.push(format!("{title}, {mode:?}: {outcome}, not {expected}"))
                    }
                    Err(why) => wrong.push(format!("{title}, {mode:?}: {why}")),
                }
            }
        }
    }
    let made = |row: &Row| row.file_systems.iter().any(|on| Disks::has(on, OFlags::empty()));
    let unused = table.iter().enumerate().filter(|(i, row)| !seen.contains(i) && made(row));
    wrong.extend(unused.map(|(_, row)| format!("no fixture for {row:?}")));
    wrong
}

#[test]
fn rows_are_read_as_they_are_written() {
    let text = "\
| fixture | file system | set-up | direction | DIRECT | BUFFERED | AUTO |
|---|---|---|---|---|---|---|
| hole | f2fs; ext4, 4096-byte sectors | patched | load; save | A | B, C | D |
";
    let row = Row {
        fixture: "hole",
        file_systems: vec!["f2fs", "ext4, 4096-byte sectors"],
        setup: "patched",
        directions: vec!["load", "save"],
        outcomes: ["A", "B, C", "D"],
    };
    assert_eq!(rows(text), [row]);
    for setup in ["patched", "stock", PAGES] {
        assert!(rows(TABLE).iter().any(|row| row.setup == setup), "no row for {setup}");
    }
}

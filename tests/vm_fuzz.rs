//! Ten thousand random requests, in the core and a part of them through the service. Whatever is
//! asked: the bytes are right, all others are as they were, the counts add up, and what the probe
//! has predicted is what happens.
//!
//! `cargo xtask fuzz requests` makes more of them, for 10 minutes.

#![allow(missing_docs, reason = "test code")]

mod support;

use binder_shim::{describe, ex, lookup_within, pfd, Status, Strong};
use dmabufio_core::buffer::Buffer as CoreBuffer;
use dmabufio_core::error::{ErrorKind, Result};
use dmabufio_core::extent::{self, Direction, MAX_EXTENTS};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{FallbackReason, Mode};
use dmabufio_core::probe;
use dmabufio_core::transfer::plan::ExtentPlan;
use dmabufio_core::transfer::{transfer, Durability};
use dmabufio_wire::INSTANCE;
use rustix::fs::OFlags;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::disks::Disks;
use support::{
    allocate, fuzz_time, heaps, is_patched, make_cold, open, read_buffer, write_buffer, Descriptor,
    Random, PAGE,
};
use vendor_dmabufio::aidl::vendor::dmabufio as aidl;
use vendor_dmabufio::aidl::vendor::dmabufio::IDmabufIo::IDmabufIo;

const REQUESTS: u64 = 10_000;
const SEED: u64 = 20_261_124;

/// Most requests are for small buffers and files, because all of both is compared every time.
const SMALL: u64 = 256 << 10;
const LARGE: u64 = 4 << 20;

/// A buffer and what is in it.
struct Buffer {
    heap: Heap,
    fd: OwnedFd,
    bytes: Vec<u8>,
}

/// A file and what is in it.
struct Target {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Whether the file system does direct I/O.
    direct: bool,
    /// No request ends behind this.
    room: u64,
}

struct World {
    buffers: Vec<Buffer>,
    targets: Vec<Target>,
    service: Strong<dyn IDmabufIo>,
    _disks: Disks,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cache {
    AsItIs,
    Cold,
    Cached,
    /// Some of what is asked for is not on the disk yet.
    Dirty,
}

#[derive(Debug, Clone)]
struct Request {
    buffer: usize,
    target: usize,
    direction: Direction,
    mode: Mode,
    flags: OFlags,
    cache: Cache,
    extents: Vec<extent::Extent>,
    service: bool,
    /// It is malformed, and this is what must be said of it.
    malformed: Option<ErrorKind>,
}

/// What happened: bytes direct, bounced and buffered, and why not all direct.
type Counts = (u64, u64, u64);
type Outcome = std::result::Result<(Counts, Option<FallbackReason>), ErrorKind>;

impl World {
    fn new() -> Self {
        let mut disks = Disks::new();
        let mut buffers = Vec::new();
        for (i, heap) in heaps().into_iter().enumerate() {
            for (j, size) in [SMALL, LARGE].into_iter().enumerate() {
                let bytes = Random::new((10 + 2 * i + j) as u64).bytes(size as usize);
                buffers.push(Buffer { heap, fd: allocate(heap, size), bytes });
            }
        }
        let mut targets = Vec::new();
        for (i, on) in ["f2fs", "ext4", "tmpfs"].into_iter().enumerate() {
            for (j, room) in [SMALL, LARGE].into_iter().enumerate() {
                let bytes = Random::new((20 + 2 * i + j) as u64).bytes((room / 8 * 7) as usize + 5);
                let path = disks.file(on, &format!("fuzz-{room}"), &bytes);
                // What the page cache holds the kernel tells the service as it tells this process
                // if it may write.
                fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
                targets.push(Target { path, bytes, direct: on != "tmpfs", room });
            }
        }
        let service = lookup_within(INSTANCE, Duration::from_secs(10))
            .unwrap_or_else(|status| panic!("{INSTANCE}: {}", describe(&status)));
        let mut world = Self { buffers, targets, service, _disks: disks };
        world.reset();
        world
    }

    /// Makes buffers and files what they should be.
    fn reset(&mut self) {
        for Buffer { heap, fd, bytes } in &self.buffers {
            write_buffer(fd.as_fd(), *heap, bytes);
        }
        for Target { path, bytes, .. } in &self.targets {
            let file = open(path, OFlags::RDWR);
            file.set_len(bytes.len() as u64).expect("truncate");
            file.write_all_at(bytes, 0).expect("write");
        }
    }

    /// Does the request and checks everything. What should be there changes only if all is well.
    fn check(&mut self, request: &Request) -> std::result::Result<(), String> {
        let Request { direction, flags, cache, .. } = *request;
        if let (Cache::Dirty, Some(extent)) = (cache, request.extents.first()) {
            let Target { path, bytes, .. } = &mut self.targets[request.target];
            let from = bytes.len().min(extent.file_offset as usize);
            let end = bytes.len().min(from + PAGE as usize);
            bytes[from..end].iter_mut().for_each(|byte| *byte = !*byte);
            let file = open(path, OFlags::RDWR);
            file.write_all_at(&bytes[from..end], from as u64).expect("write");
        }
        let target = &self.targets[request.target];
        let buffer = &self.buffers[request.buffer];
        let all = || fs::read(&target.path).expect("read");
        match cache {
            Cache::AsItIs | Cache::Dirty => {}
            Cache::Cold => make_cold(&target.path),
            Cache::Cached => drop(all()),
        }
        let file = open(&target.path, flags);
        let before = Descriptor::at(&file, 4242);
        let predicted = predict(request, buffer, &file);
        let outcome = if request.service {
            through_service(&self.service, request, buffer, &file)
        } else {
            in_process(request, buffer, &file)
        };

        let fail = |why: String| Err(format!("{why}; predicted {predicted:?}, was {outcome:?}"));
        if Descriptor::of(&file) != before {
            return fail("the descriptor has changed".into());
        }
        let agree = match (&predicted, &outcome) {
            (Ok((plan, reasons)), Ok((counts, reason))) => {
                plan == counts
                    && reason.map_or(reasons.is_empty(), |reason| reasons.contains(&reason))
            }
            (Err(predicted), Err(kind)) => predicted == kind,
            _ => false,
        };
        if !agree {
            return fail("not what was predicted".into());
        }
        if let Err(why) = self.expect(request, &outcome) {
            return fail(why);
        }

        let moved: &[_] = if outcome.is_ok() { &request.extents } else { &[] };
        // Only the destination is looked at, so that the file is not always cached.
        match direction {
            Direction::Load => {
                let mut expected = buffer.bytes.clone();
                for extent in moved {
                    let from = target.bytes.len().min(extent.file_offset as usize);
                    let end = target.bytes.len().min(extent.file_end() as usize);
                    let at = extent.buffer_offset as usize;
                    expected[at..at + end - from].copy_from_slice(&target.bytes[from..end]);
                }
                if read_buffer(buffer.fd.as_fd(), buffer.heap, expected.len()) != expected {
                    return fail("the buffer has other bytes than it should".into());
                }
                self.buffers[request.buffer].bytes = expected;
            }
            Direction::Save => {
                let mut expected = target.bytes.clone();
                // An empty one beyond the end makes no file longer.
                for extent in moved.iter().filter(|extent| !extent.is_empty()) {
                    let (from, end) = (extent.file_offset as usize, extent.file_end() as usize);
                    let at = extent.buffer_offset as usize;
                    expected.resize(expected.len().max(end), 0);
                    expected[from..end].copy_from_slice(&buffer.bytes[at..at + end - from]);
                }
                if all() != expected {
                    return fail("the file has other bytes than it should".into());
                }
                self.targets[request.target].bytes = expected;
            }
        }
        Ok(())
    }

    /// What can be said of the outcome without looking at how requests are planned.
    fn expect(&self, request: &Request, outcome: &Outcome) -> std::result::Result<(), String> {
        let Request { direction, mode, flags, cache, .. } = *request;
        let target = &self.targets[request.target];
        let ensure = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
        if let Some(kind) = request.malformed {
            return ensure(*outcome == Err(kind), &format!("not {kind:?}"));
        }
        let o_direct = flags.contains(OFlags::DIRECT);
        if o_direct && mode == Mode::Buffered {
            return ensure(*outcome == Err(ErrorKind::BadDescriptor), "O_DIRECT, buffered");
        }
        let aligned = |n: u64| n % PAGE == 0;
        let whole_blocks = |e: &extent::Extent| aligned(e.file_offset) && aligned(e.len);
        if *outcome == Err(ErrorKind::InvalidRequest) {
            let broken = !request.extents.iter().all(whole_blocks);
            return ensure(o_direct && direction == Direction::Save && broken, "it was valid");
        }

        let can_direct = target.direct
            && match self.buffers[request.buffer].heap {
                Heap::System => is_patched(),
                Heap::Udmabuf => false,
                Heap::SystemDirect | Heap::Memfd => o_direct,
            };
        let size = target.bytes.len() as u64;
        let moves = |e: &extent::Extent| match direction {
            Direction::Load => e.len.min(size.saturating_sub(e.file_offset)),
            Direction::Save => e.len,
        };
        let congruent = |e: &extent::Extent| aligned(e.file_offset.abs_diff(e.buffer_offset));
        let moving = || request.extents.iter().filter(|e| moves(e) > 0);
        let all_direct = moving().all(|e| can_direct && congruent(e));
        if *outcome == Err(ErrorKind::NotDirect) {
            return ensure(mode == Mode::Direct && !all_direct, "it can go direct");
        }
        let Ok(((direct, bounced, buffered), reason)) = *outcome else {
            return Err("it should not fail".to_owned());
        };
        let bytes: u64 = request.extents.iter().map(moves).sum();
        ensure(direct + bounced + buffered == bytes, "the counts do not add up")?;
        ensure(can_direct || direct == 0, "this cannot go direct")?;
        ensure(mode != Mode::Direct || all_direct, "this is not all direct")?;
        ensure(mode != Mode::Direct || buffered == 0, "DIRECT has copied a body")?;
        ensure(mode != Mode::Buffered || direct + bounced == 0, "BUFFERED has gone direct")?;
        ensure(bounced <= 2 * (PAGE - 1) * moving().count() as u64, "the edges are too long")?;
        ensure(buffered == 0 || reason.is_some(), "copied for no reason")?;
        if mode == Mode::Auto && all_direct && !o_direct && direction == Direction::Load {
            match cache {
                Cache::Cold => ensure(buffered == 0, "cold, and copied")?,
                Cache::Cached => ensure(direct == 0, "cached, and read again")?,
                Cache::AsItIs | Cache::Dirty => {}
            }
        }
        Ok(())
    }
}

/// The counts that are predicted, and all reasons.
fn predict(
    request: &Request,
    buffer: &Buffer,
    file: &File,
) -> std::result::Result<(Counts, Vec<FallbackReason>), ErrorKind> {
    let plan = || -> Result<Vec<ExtentPlan>> {
        let direction = request.direction;
        let dma_buf = CoreBuffer::new(buffer.fd.as_fd(), buffer.heap)?;
        let file = RegularFile::new(file.as_fd(), buffer.heap)?;
        extent::check_shape(&request.extents)?;
        extent::check_placement(&request.extents, dma_buf.size(), direction)?;
        let support = probe::buffer(&dma_buf, direction)?;
        probe::plan(&file, &request.extents, direction, request.mode, support)
    };
    let plans = plan().map_err(|error| error.kind())?;
    let counts = plans.iter().fold((0, 0, 0), |sum, plan| {
        (sum.0 + plan.direct, sum.1 + plan.bounced, sum.2 + plan.buffered)
    });
    Ok((counts, plans.into_iter().filter_map(|plan| plan.reason).collect()))
}

fn in_process(request: &Request, buffer: &Buffer, file: &File) -> Outcome {
    let run = || {
        transfer(&dmabufio_core::transfer::Request {
            buffer: &CoreBuffer::new(buffer.fd.as_fd(), buffer.heap)?,
            file: &RegularFile::new(file.as_fd(), buffer.heap)?,
            extents: &request.extents,
            direction: request.direction,
            mode: request.mode,
            durability: Durability::None,
        })
    };
    let receipt = run().map_err(|error| error.kind())?;
    Ok(((receipt.direct, receipt.bounced, receipt.buffered), receipt.first_fallback))
}

fn through_service(
    service: &Strong<dyn IDmabufIo>,
    request: &Request,
    buffer: &Buffer,
    file: &File,
) -> Outcome {
    let number = |n: u64| i64::try_from(n).expect("an offset below 2^63");
    let extent = |e: &extent::Extent| aidl::Extent::Extent {
        fileOffset: number(e.file_offset),
        bufferOffset: number(e.buffer_offset),
        length: number(e.len),
    };
    let fd = |fd: std::io::Result<OwnedFd>| Some(pfd(fd.expect("dup")));
    let request = aidl::TransferRequest::TransferRequest {
        buffer: fd(buffer.fd.try_clone()),
        file: fd(file.as_fd().try_clone_to_owned()),
        extents: request.extents.iter().map(extent).collect(),
        direction: match request.direction {
            Direction::Load => aidl::Direction::Direction::LOAD,
            Direction::Save => aidl::Direction::Direction::SAVE,
        },
        mode: match request.mode {
            Mode::Auto => aidl::Mode::Mode::AUTO,
            Mode::Direct => aidl::Mode::Mode::DIRECT,
            Mode::Buffered => aidl::Mode::Mode::BUFFERED,
        },
        ..Default::default()
    };
    let receipt = service.transfer(&request).map_err(|status| kind(&status))?;
    let count = |n: i64| u64::try_from(n).expect("a count");
    let counts =
        (count(receipt.bytesDirect), count(receipt.bytesBounced), count(receipt.bytesBuffered));
    assert_eq!(counts.0 + counts.1 + counts.2, count(receipt.bytes), "{receipt:?}");
    Ok((counts, reason(receipt.firstFallback)))
}

/// The kind of error that became `status`, where only one of them can have.
fn kind(status: &Status) -> ErrorKind {
    let code = aidl::Error::Error(status.service_specific_error());
    match status.exception_code() {
        ex::ILLEGAL_ARGUMENT if describe(status).contains("file: ") => ErrorKind::BadDescriptor,
        ex::ILLEGAL_ARGUMENT => ErrorKind::InvalidRequest,
        ex::SERVICE_SPECIFIC if code == aidl::Error::Error::NOT_DIRECT => ErrorKind::NotDirect,
        _ => panic!("{}", describe(status)),
    }
}

fn reason(reason: aidl::FallbackReason::FallbackReason) -> Option<FallbackReason> {
    use aidl::FallbackReason::FallbackReason as Aidl;
    match reason {
        Aidl::NONE => None,
        Aidl::REQUESTED => Some(FallbackReason::Requested),
        Aidl::NO_IOCTL => Some(FallbackReason::NoIoctl),
        Aidl::EXPORTER => Some(FallbackReason::Exporter),
        Aidl::DESCRIPTOR_NOT_DIRECT => Some(FallbackReason::DescriptorNotDirect),
        Aidl::FILE_NOT_DIRECT => Some(FallbackReason::FileNotDirect),
        Aidl::UNALIGNED => Some(FallbackReason::Unaligned),
        Aidl::RESIDENT => Some(FallbackReason::Resident),
        other => panic!("{other:?} on an ordinary file"),
    }
}

impl World {
    /// A request whose extents do not overlap where they are written, and that may be malformed.
    fn random(&self, random: &mut Random) -> Request {
        let mut one_in = |n: u64| random.below(n) == 0;
        let large = usize::from(one_in(100));
        let (direct, buffered, o_direct) = (one_in(4), one_in(6), one_in(4));
        let save = one_in(3);
        // To make a file cold takes longer than all the rest.
        let cache = match (one_in(10), one_in(8), one_in(12)) {
            (true, _, _) => Cache::Cold,
            (_, true, _) => Cache::Cached,
            (_, _, true) => Cache::Dirty,
            _ => Cache::AsItIs,
        };
        let heap = random.below((self.buffers.len() / 2) as u64) as usize;
        let mut request = Request {
            buffer: 2 * heap + large,
            target: 2 * random.below(3) as usize + large,
            direction: if save { Direction::Save } else { Direction::Load },
            mode: match (direct, buffered) {
                (true, _) => Mode::Direct,
                (_, true) => Mode::Buffered,
                _ => Mode::Auto,
            },
            flags: if save { OFlags::WRONLY } else { OFlags::RDONLY },
            cache,
            extents: Vec::new(),
            service: matches!(self.buffers[2 * heap].heap, Heap::System | Heap::SystemDirect)
                && random.below(5) == 0,
            malformed: None,
        };
        if o_direct {
            request.flags |= OFlags::DIRECT;
        }
        request.extents = self.extents(&request, random);
        if random.below(20) == 0 {
            self.spoil(&mut request, random);
        }
        request
    }

    fn extents(&self, request: &Request, random: &mut Random) -> Vec<extent::Extent> {
        let count = match random.below(6) {
            0 => 1 + random.below(64),
            1 => 1 + random.below(8),
            _ => 1,
        };
        let space = self.buffers[request.buffer].bytes.len() as u64;
        let room = self.targets[request.target].room;
        assert_eq!(space, room, "a buffer fits its files");
        let slot = space / count / PAGE * PAGE;
        let contiguous = random.below(4) == 0;
        // Saves through O_DIRECT are refused unless they are aligned, which would be dull.
        let o_direct = request.flags.contains(OFlags::DIRECT);
        let aligned = random.below(2) == 0
            || o_direct && request.direction == Direction::Save && random.below(8) > 0;
        // How the source lies against the destination: not shifted, by whole pages, anyhow.
        let shift = random.below(3);
        let unit = if aligned { PAGE } else { 1 };
        let delta = match shift {
            0 => 0,
            1 => random.below(slot / PAGE) * PAGE,
            _ => random.below(slot) / unit * unit,
        };
        let mut extents: Vec<_> = (0..count)
            .map(|i| {
                let (start, len) = if contiguous {
                    (0, slot)
                } else if aligned {
                    let start = random.below(slot / PAGE) * PAGE;
                    (start, PAGE * (1 + random.below((slot - start) / PAGE)))
                } else {
                    let start = random.below(slot);
                    (start, 1 + random.below(slot - start))
                };
                let to = i * slot + start;
                // Another slot, unless extents are to continue each other.
                let from = if contiguous || shift < 2 { to } else { random.below(count) * slot };
                let from = (from + delta).min(space - len);
                let (file_offset, buffer_offset) = match request.direction {
                    Direction::Load => (from, to),
                    Direction::Save => (to, from),
                };
                extent::Extent { file_offset, buffer_offset, len }
            })
            .collect();
        for i in (1..extents.len()).rev() {
            extents.swap(i, random.below(i as u64 + 1) as usize);
        }
        extents
    }

    /// Makes one thing wrong.
    fn spoil(&self, request: &mut Request, random: &mut Random) {
        let size = self.buffers[request.buffer].bytes.len() as u64;
        let extents = &mut request.extents;
        let i = random.below(extents.len() as u64) as usize;
        request.malformed = Some(ErrorKind::InvalidRequest);
        match random.below(8) {
            0 => {
                // Which is legal, wherever else it lies.
                extents[i].len = 0;
                request.malformed = None;
            }
            1 => extents[i].buffer_offset = size,
            2 => extents[i].len = size + 1,
            3 => extents[i].file_offset = i64::MAX as u64,
            4 => extents.push(extents[i]),
            5 => extents.clear(),
            6 => extents.resize(MAX_EXTENTS + 1, extents[i]),
            _ => {
                request.malformed = Some(ErrorKind::BadDescriptor);
                request.flags = match request.direction {
                    Direction::Load => OFlags::WRONLY,
                    Direction::Save => OFlags::RDONLY,
                };
            }
        }
    }

    /// The same request with as few extents as still fail.
    fn smallest(&mut self, mut request: Request, mut why: String) -> (Request, String) {
        let mut i = 0;
        while i < request.extents.len() && request.extents.len() > 1 {
            let mut smaller = request.clone();
            smaller.extents.remove(i);
            self.reset();
            match self.check(&smaller) {
                Err(again) => (request, why) = (smaller, again),
                Ok(()) => i += 1,
            }
        }
        (request, why)
    }
}

#[test]
fn ten_thousand_random_requests_do_what_was_predicted() {
    let mut world = World::new();
    let mut random = Random::new(SEED);
    let start = Instant::now();
    println!("seed {SEED}");
    let (mut in_service, mut refused, mut extents) = (0, 0, 0);
    let end = fuzz_time().map(|time| start + time);
    let requests = (0..).take_while(|round| match end {
        Some(end) => Instant::now() < end,
        None => *round < REQUESTS,
    });
    let mut made = 0;
    for round in requests {
        let request = world.random(&mut random);
        if let Err(why) = world.check(&request) {
            println!("seed {SEED}, request {round}: {why}\n{request:?}");
            let (smallest, why) = world.smallest(request, why);
            panic!("seed {SEED}, request {round}, made smaller: {why}\n{smallest:?}");
        }
        made += 1;
        in_service += u64::from(request.service);
        refused += u64::from(request.malformed.is_some());
        extents += request.extents.len();
        if round % 1000 == 999 {
            println!("{} requests in {:?}", round + 1, start.elapsed());
        }
        // Saves have made files longer: their ends come into reach again.
        if round % 16 == 0 {
            let target = &mut world.targets[random.below(6) as usize];
            let len = target.room / 2 + random.below(target.room / 2);
            target.bytes.resize(len as usize, 0);
            open(&target.path, OFlags::RDWR).set_len(len).expect("truncate");
        }
    }
    // And no load has changed a file, no save a buffer.
    for Buffer { heap, fd, bytes } in &world.buffers {
        assert!(read_buffer(fd.as_fd(), *heap, bytes.len()) == *bytes, "a buffer of heap {heap}");
    }
    for Target { path, bytes, .. } in &world.targets {
        assert!(fs::read(path).expect("read") == *bytes, "{}", path.display());
    }
    println!(
        "{made} requests of {extents} extents in {:?}: {in_service} through the service, \
         {refused} malformed",
        start.elapsed()
    );
    assert!(in_service > made / 50 && refused > made / 50, "hardly any of a kind");
}

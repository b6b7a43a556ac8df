//! The rows of this project, in this process and through the service, and their cost as the work
//! grows.

use super::fill::rw_file;
use super::fio::{self, Job};
use super::runner::{Case, Source, Times};
use crate::name::shown;
use anyhow::{bail, ensure, Context, Error, Result};
use dmabufio_client::{Buffer, Client, Error as ClientError, Filled, Load, Transfer};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::{Direction, Extent, MAX_EXTENTS};
use dmabufio_core::load::{Item, MAX_BATCH};
use dmabufio_core::method::Mode;
use dmabufio_core::sys::uapi;
use dmabufio_core::transfer::receipt::Receipt;
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

const TAG: &str = "bench";
/// The pause before a repeated request, after the service was busy.
const RETRY: Duration = Duration::from_millis(1);
/// Bytes that a row with small requests moves in one run, at most.
const SMALL: u64 = 64 << 20;
/// Bytes that a row with requests of any size moves in one run, at most.
const LARGE: u64 = 1 << 30;
/// Bytes that the rows with 1 to 2048 extents move.
const SCATTERED: u64 = 128 << 20;

/// The back ends that are compared.
pub struct Clients {
    pub service: Client,
    pub local: Client,
}

/// Allocates a buffer for each part of the file.
fn buffers(client: &Client, source: &Source, chunk: u64) -> Result<Vec<(Range<u64>, Buffer)>> {
    let mut buffers = Vec::new();
    let mut start = 0;
    while start < source.len {
        let end = source.len.min(start + chunk);
        buffers.push((start..end, client.allocate(end - start, TAG)?));
        start = end;
    }
    Ok(buffers)
}

/// Fills the start of a buffer with a range of a file, by direct I/O only.
fn transfer(
    client: &Client,
    file: &File,
    range: &Range<u64>,
    buffer: &Buffer,
    direction: Direction,
) -> Result<Receipt> {
    let len = range.end - range.start;
    let extents = [Extent { file_offset: range.start, buffer_offset: 0, len }];
    direct(client, file, &extents, buffer, direction)
}

fn direct(
    client: &Client,
    file: &File,
    extents: &[Extent],
    buffer: &Buffer,
    direction: Direction,
) -> Result<Receipt> {
    let transfer = Transfer {
        mode: Mode::Direct,
        ..Transfer::new(buffer.as_fd(), file.as_fd(), extents, direction)
    };
    let receipt = client.transfer(&transfer)?;
    let len: u64 = extents.iter().map(|extent| extent.len).sum();
    ensure!(receipt.direct == len, "{} of {len} bytes went direct", receipt.direct);
    Ok(receipt)
}

fn verify(source: &Source, buffers: &[(Range<u64>, Buffer)]) -> Result<()> {
    for (range, buffer) in buffers {
        let len = range.end - range.start;
        source.verify(range.start, len, |at, out| Ok(buffer.read(at, out)?))?;
    }
    Ok(())
}

/// Times `work` as I/O.
fn io(work: impl FnOnce() -> Result<()>) -> Result<Times> {
    let start = Instant::now();
    work()?;
    Ok(Times { io: start.elapsed(), ..Times::default() })
}

/// The file in parts of `chunk` bytes: allocating alone, reading alone, and both.
pub fn ours<'a>(source: &'a Source, clients: &'a Clients, chunk: u64) -> Result<Vec<Case<'a>>> {
    let Clients { service, local } = clients;
    // Allocated once for all rows that only read.
    let targets = Rc::new(buffers(local, source, chunk)?);
    let mut cases = vec![Case::new("allocate through the service", source.len, move |_| {
        let start = Instant::now();
        let buffers = buffers(service, source, chunk)?;
        let alloc = start.elapsed();
        drop(buffers);
        Ok(Times { alloc, ..Times::default() })
    })];
    for (name, client) in [
        ("RW_FILE, ioctl by ioctl", None),
        ("transfer in this process", Some(local)),
        ("transfer through the service", Some(service)),
    ] {
        let targets = targets.clone();
        cases.push(Case::new(name, source.len, move |check| {
            if check {
                // The old data of another row would be correct, too.
                targets.iter().try_for_each(|(_, buffer)| scribble(buffer))?;
            }
            let times = io(|| {
                targets.iter().try_for_each(|(range, buffer)| match client {
                    None => raw(&source.buffered, range, buffer),
                    Some(client) => {
                        transfer(client, &source.buffered, range, buffer, Direction::Load).map(drop)
                    }
                })
            })?;
            if check {
                verify(source, &targets)?;
            }
            Ok(times)
        }));
    }
    let run = move |check| load(source, service, chunk, check);
    cases.push(Case::new("load through the service", source.len, run));
    Ok(cases)
}

/// The ioctl alone.
fn raw(file: &File, range: &Range<u64>, buffer: &Buffer) -> Result<()> {
    let len = range.end - range.start;
    rw_file(buffer.as_fd(), file.as_fd(), range.start, len, uapi::DMA_BUF_RW_FLAGS_DIRECT)
}

/// Changes a byte of every mebibyte.
fn scribble(buffer: &Buffer) -> Result<()> {
    (0..buffer.size()).step_by(1 << 20).try_for_each(|at| Ok(buffer.write(at, &[0xa5])?))
}

/// `Client::load` of the whole file, in as many calls as it takes.
fn load(source: &Source, client: &Client, chunk: u64, check: bool) -> Result<Times> {
    let mut items = Vec::new();
    let mut start = 0;
    while start < source.len {
        let len = chunk.min(source.len - start);
        let extents = vec![Extent { file_offset: start, buffer_offset: 0, len }];
        items.push(Item { size: len, extents });
        start += len;
    }
    let begin = Instant::now();
    let mut filled = Vec::new();
    for batch in items.chunks(MAX_BATCH) {
        let request =
            Load { mode: Mode::Direct, tag: TAG, ..Load::new(source.buffered.as_fd(), batch) };
        for result in client.load(&request)? {
            filled.push(result?);
        }
    }
    let times = Times { both: begin.elapsed(), ..Times::default() };
    if check {
        for (item, Filled { buffer, .. }) in items.iter().zip(&filled) {
            let offset = item.extents[0].file_offset;
            source.verify(offset, item.size, |at, out| Ok(buffer.read(at, out)?))?;
        }
    }
    Ok(times)
}

/// `Client::load` under a name, for tables that compare circumstances.
pub fn load_case<'a>(source: &'a Source, client: &'a Client, name: String, chunk: u64) -> Case<'a> {
    Case::new(name, source.len, move |check| load(source, client, chunk, check))
}

/// The whole file into one buffer: the cost of binder beside the ioctl.
pub fn whole<'a>(source: &'a Source, clients: &'a Clients) -> Result<Vec<Case<'a>>> {
    let Clients { service, local } = clients;
    let whole = 0..source.len;
    let buffer = Rc::new(local.allocate(source.len, TAG)?);
    let case = |name, client: Option<&'a Client>| {
        let (buffer, whole) = (buffer.clone(), whole.clone());
        Case::new(name, source.len, move |_| {
            io(|| match client {
                None => raw(&source.buffered, &whole, &buffer),
                Some(client) => {
                    let direction = Direction::Load;
                    transfer(client, &source.buffered, &whole, &buffer, direction).map(drop)
                }
            })
        })
    };
    Ok(vec![
        case("one buffer: RW_FILE", None),
        case("one buffer: transfer in this process", Some(local)),
        case("one buffer: transfer through the service", Some(service)),
    ])
}

/// Requests of 4 KiB to 4 GiB, both ways, as far as file and memory allow.
pub fn sizes<'a>(source: &'a Source, clients: &'a Clients, all: bool) -> Result<Vec<Case<'a>>> {
    const MIB: u64 = 1 << 20;
    const LONG: u64 = 32 * MIB;
    let every = [
        4 << 10,
        16 << 10,
        64 << 10,
        256 << 10,
        MIB,
        4 * MIB,
        8 * MIB,
        32 * MIB,
        64 * MIB,
        256 * MIB,
        1024 * MIB,
        3072 * MIB,
        4096 * MIB,
    ];
    let few = [4 << 10, 64 << 10, MIB, 8 * MIB, 32 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB];
    let sizes: &[u64] = if all { &every } else { &few };
    let local = &clients.local;
    let limit = source.len.min(local.capabilities()?.max_buffer_bytes);
    let largest = sizes.iter().copied().filter(|size| *size <= limit).max();
    let buffer = Rc::new(local.allocate(largest.context("a file this small")?, TAG)?);
    let scratch = source.path.with_extension("bench-scratch");
    let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
    let out = options.open(&scratch).with_context(|| format!("create {}", shown(&scratch)))?;
    // A file without a name cannot stay behind.
    fs::remove_file(&scratch)?;
    let out = Rc::new(out);
    let mut cases = Vec::new();
    for direction in [Direction::Load, Direction::Save] {
        for &size in sizes.iter().filter(|size| **size <= limit) {
            let bytes = match size {
                0..MIB => (256 * size).min(SMALL),
                MIB..LONG => SMALL,
                _ => LARGE,
            };
            let bytes = bytes.min(limit).max(size);
            let (buffer, out) = (buffer.clone(), out.clone());
            let bytes = bytes / size * size;
            let name = match direction {
                Direction::Load => "read",
                Direction::Save => "write",
            };
            let run = move |_| {
                let file = if direction == Direction::Load { &source.buffered } else { &*out };
                io(|| {
                    (0..bytes / size).try_for_each(|i| {
                        let range = i * size..(i + 1) * size;
                        transfer(local, file, &range, &buffer, direction).map(drop)
                    })
                })
            };
            cases.push(Case::new(name, bytes, run).at(size));
        }
    }
    Ok(cases)
}

/// One request of 1 to 2048 extents that do not continue each other: every second block of the
/// file, packed in the buffer.
pub fn extents<'a>(source: &'a Source, clients: &'a Clients) -> Result<Vec<Case<'a>>> {
    let total = SCATTERED.min(prev_power_of_two(source.len / 2));
    let buffer = Rc::new(clients.local.allocate(total, TAG)?);
    let counts = (0..=11).map(|shift| 1_u64 << shift).filter(|count| total / count >= 4096);
    Ok(counts
        .map(|count| {
            let (buffer, service) = (buffer.clone(), &clients.service);
            Case::new("extents", total, move |check| {
                strided(source, service, &buffer, total / count, total, check)
            })
            .at(count)
        })
        .collect())
}

/// Blocks of 1 MiB and 64 KiB: batched extents beside fio with the same blocks.
pub fn blocks<'a>(source: &'a Source, clients: &'a Clients) -> Result<Vec<Case<'a>>> {
    let total = prev_power_of_two(source.len / 2).min(LARGE / 2);
    let buffer = Rc::new(clients.local.allocate(total, TAG)?);
    let mut cases = Vec::new();
    for block in [1 << 20, 64 << 10] {
        let (buffer, service) = (buffer.clone(), &clients.service);
        let name = format!("batched extents of {}K", block >> 10);
        cases.push(Case::new(name, total, move |check| {
            strided(source, service, &buffer, block, total, check)
        }));
        for depth in [1, 8, 32] {
            let job = Job { strided: true, ..Job::sequential(block, depth) };
            cases.push(fio::case(source, job, total));
        }
    }
    Ok(cases)
}

fn prev_power_of_two(value: u64) -> u64 {
    value.checked_ilog2().map_or(0, |shift| 1 << shift)
}

/// Loads every second block of the file, `total` bytes in all, in as few requests as it takes.
fn strided(
    source: &Source,
    client: &Client,
    buffer: &Buffer,
    block: u64,
    total: u64,
    check: bool,
) -> Result<Times> {
    let extents: Vec<Extent> = (0..total / block)
        .map(|i| Extent { file_offset: 2 * i * block, buffer_offset: i * block, len: block })
        .collect();
    let times = io(|| {
        extents.chunks(MAX_EXTENTS).try_for_each(|batch| {
            direct(client, &source.buffered, batch, buffer, Direction::Load).map(drop)
        })
    })?;
    if check {
        for Extent { file_offset, buffer_offset, len } in extents {
            source.verify(file_offset, len, |at, out| Ok(buffer.read(buffer_offset + at, out)?))?;
        }
    }
    Ok(times)
}

/// 1 to 64 clients at once, each with a part of the file and a buffer of its own.
pub fn clients<'a>(source: &'a Source, clients: &'a Clients) -> Vec<Case<'a>> {
    let counts = (0..7).map(|shift| 1_u64 << shift);
    let service = &clients.service;
    counts
        .map(|count| {
            let len = prev_power_of_two(source.len / count);
            let bytes = len * count;
            Case::new("clients", bytes, move |check| {
                let allocate = |i| Ok((i * len..(i + 1) * len, service.allocate(len, TAG)?));
                let parts = (0..count).map(allocate).collect::<Result<Vec<_>>>()?;
                let times = io(|| at_once(parts.iter(), source, service))?;
                if check {
                    verify(source, &parts)?;
                }
                Ok(times)
            })
            .at(count)
        })
        .collect()
}

/// A thread for each part, which fills the part's buffer.
pub fn at_once<'a>(
    parts: impl Iterator<Item = &'a (Range<u64>, Buffer)>,
    source: &Source,
    client: &Client,
) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = parts
            .map(|(range, buffer)| {
                scope.spawn(move || loop {
                    let load = transfer(client, &source.buffered, range, buffer, Direction::Load);
                    match load {
                        // The service runs a limited number of requests of one user at a time.
                        Err(error) if is_busy(&error) => thread::sleep(RETRY),
                        load => return load.map(drop),
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread of the benchmark panicked"),
        })
    })
}

/// Whether the service has no room for the request at the moment.
fn is_busy(error: &Error) -> bool {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    let kind = failure.and_then(ClientError::kind);
    matches!(kind, Some(ErrorKind::Busy | ErrorKind::QuotaExceeded))
}

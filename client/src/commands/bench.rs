//! `dmabufio bench`: the six methods of the published table, side by side on one file.
//!
//! The table was published with the kernel patch that this project builds on: 1 GiB in 32 buffers
//! of 32 MiB, cold cache, a phone with UFS 4.0 and its CPU at 1 GHz. Every row allocates a buffer
//! for each part of the file and fills it with one call, or as few calls as the method takes.

use crate::output::Output;
use crate::size;
use anyhow::{ensure, Context, Result};
use dmabufio::heap::{Allocator, Heap};
use dmabufio::sys::mmap::{Access, Mapping};
use dmabufio::sys::sendfile::sendfile;
use dmabufio::sys::sysconf::page_size;
use dmabufio::sys::{ioctl, uapi};
use rustix::fs::{
    fadvise, fcntl_add_seals, ftruncate, memfd_create, Advice, MemfdFlags, OFlags, SealFlags,
};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure the six ways of filling dma-bufs from a file, side by side
#[derive(clap::Args)]
pub struct Args {
    /// The file, on a file system that does direct I/O
    file: PathBuf,

    /// Bytes in one buffer, a multiple of the page size (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = size::parse)]
    chunk: u64,

    /// Runs of every row; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// A row of the published table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    UdmabufBufferRead,
    UdmabufDirectRead,
    UdmabufBufferSendfile,
    UdmabufDirectSendfile,
    DmabufBufferRead,
    RwFileDirectRead,
}

/// Published milliseconds for 1 GiB: allocate, read, total.
type Published = [u32; 3];

impl Row {
    const ALL: [(Self, &'static str, Published); 6] = [
        (Self::UdmabufBufferRead, "udmabuf buffer read", [539, 2017, 2555]),
        (Self::UdmabufDirectRead, "udmabuf direct read", [522, 658, 1179]),
        (Self::UdmabufBufferSendfile, "udmabuf buffer sendfile", [505, 1040, 1546]),
        (Self::UdmabufDirectSendfile, "udmabuf direct sendfile", [510, 2269, 2780]),
        (Self::DmabufBufferRead, "dmabuf buffer read", [51, 1068, 1118]),
        (Self::RwFileDirectRead, "RW_FILE direct read", [52, 297, 349]),
    ];

    fn is_direct(self) -> bool {
        matches!(self, Self::UdmabufDirectRead | Self::UdmabufDirectSendfile)
    }
}

/// A filled buffer, and what its content is read through.
struct Filled {
    _dma_buf: OwnedFd,
    pages: Mapping,
}

/// Times of one run.
#[derive(Clone, Copy, Default)]
struct Times {
    alloc: Duration,
    read: Duration,
}

#[derive(Serialize)]
struct RowReport {
    method: &'static str,
    /// Medians, in nanoseconds. The total is the median of the totals.
    alloc_nanos: u128,
    read_nanos: u128,
    total_nanos: u128,
    total_min_nanos: u128,
    total_max_nanos: u128,
    /// Milliseconds for 1 GiB, as published: allocate, read, total.
    published_ms: Published,
    /// Why the row could not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: u64,
    chunk: u64,
    runs: u32,
    rows: Vec<RowReport>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let bench = Bench::open(args)?;
    let mut times = vec![Vec::new(); Row::ALL.len()];
    let mut errors: Vec<Option<String>> = vec![None; Row::ALL.len()];
    let total = u64::from(args.runs) * Row::ALL.len() as u64 * bench.len;
    let progress = output.progress(total, "measuring");
    for run in 0..args.runs {
        for ((row, _, _), (times, error)) in Row::ALL.iter().zip(times.iter_mut().zip(&mut errors))
        {
            if error.is_none() {
                // Verified once, outside the timed part.
                match bench.measure(*row, run == 0) {
                    Ok(measured) => times.push(measured),
                    Err(failure) => *error = Some(format!("{failure:#}")),
                }
            }
            progress.inc(bench.len);
        }
    }
    progress.finish_and_clear();
    let rows = Row::ALL.iter().zip(times.iter().zip(errors));
    let rows: Vec<_> = rows
        .map(|((_, method, published), (times, error))| {
            RowReport::new(method, published, times, error)
        })
        .collect();
    let failed = rows.iter().any(|row| row.error.is_some());
    let report = Report {
        file: args.file.display().to_string(),
        bytes: bench.len,
        chunk: args.chunk,
        runs: args.runs,
        rows,
    };
    output.result(&report, |out| {
        let parts = report.bytes.div_ceil(report.chunk);
        writeln!(
            out,
            "{}: {} in {parts} buffers of {}, cold cache, median of {}; published: 1 GiB in 32 x \
             32 MiB",
            report.file,
            size::bytes(report.bytes),
            size::bytes(report.chunk),
            report.runs
        )?;
        writeln!(out, "{:<24} {:>8} {:>8} {:>8}   published", "ms", "alloc", "read", "total")?;
        for row in &report.rows {
            let [alloc, read, total] = row.published_ms;
            let published = format!("{alloc:>6} {read:>6} {total:>6}");
            match &row.error {
                Some(error) => writeln!(out, "{:<24} did not run: {error}", row.method)?,
                None => writeln!(
                    out,
                    "{:<24} {:>8.1} {:>8.1} {:>8.1}   {published}",
                    row.method,
                    millis(row.alloc_nanos),
                    millis(row.read_nanos),
                    millis(row.total_nanos)
                )?,
            }
        }
        Ok(())
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl RowReport {
    fn new(
        method: &'static str,
        published: &Published,
        times: &[Times],
        error: Option<String>,
    ) -> Self {
        let sorted = |value: fn(&Times) -> Duration| {
            let mut values: Vec<u128> = times.iter().map(|t| value(t).as_nanos()).collect();
            values.sort_unstable();
            values
        };
        let median = |values: &[u128]| values.get(values.len() / 2).copied().unwrap_or(0);
        let totals = sorted(|t| t.alloc + t.read);
        Self {
            method,
            alloc_nanos: median(&sorted(|t| t.alloc)),
            read_nanos: median(&sorted(|t| t.read)),
            total_nanos: median(&totals),
            total_min_nanos: totals.first().copied().unwrap_or(0),
            total_max_nanos: totals.last().copied().unwrap_or(0),
            published_ms: *published,
            error,
        }
    }
}

fn millis(nanos: u128) -> f64 {
    nanos as f64 / 1e6
}

/// What all rows share.
struct Bench {
    buffered: File,
    direct: File,
    len: u64,
    chunk: u64,
}

impl Bench {
    fn open(args: &Args) -> Result<Self> {
        let name = args.file.display();
        let open = |flags: OFlags| {
            OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(&args.file)
        };
        let buffered = open(OFlags::empty()).with_context(|| format!("open {name}"))?;
        let direct = open(OFlags::DIRECT)
            .with_context(|| format!("open {name} with O_DIRECT; use a file on f2fs or ext4"))?;
        let page_size = page_size();
        ensure!(
            args.chunk > 0 && args.chunk % page_size == 0,
            "--chunk {}: not a multiple of the page size, {page_size} bytes",
            args.chunk
        );
        // Direct I/O of the rows without edges: whole pages.
        let len = buffered.metadata()?.len() / page_size * page_size;
        ensure!(len > 0, "{name}: shorter than a page; use a larger file");
        Ok(Self { buffered, direct, len, chunk: args.chunk })
    }

    /// Runs one row once.
    fn measure(&self, row: Row, verify: bool) -> Result<Times> {
        fadvise(&self.buffered, 0, 0, Advice::DontNeed).context("drop the file's page cache")?;
        let mut times = Times::default();
        // All buffers live to the end of the run, as in the published test.
        let mut filled = Vec::new();
        let mut offset = 0;
        while offset < self.len {
            let len = self.chunk.min(self.len - offset);
            filled.push((offset, len, self.fill(row, offset, len, &mut times)?));
            offset += len;
        }
        if verify {
            for (offset, len, filled) in &filled {
                self.verify(filled, *offset, *len)?;
            }
        }
        Ok(times)
    }

    /// Allocates one buffer and fills it, adding to `times`.
    fn fill(&self, row: Row, offset: u64, len: u64, times: &mut Times) -> Result<Filled> {
        let file = if row.is_direct() { self.direct.as_fd() } else { self.buffered.as_fd() };
        let bytes = len as usize;
        let start = Instant::now();
        match row {
            Row::UdmabufBufferRead | Row::UdmabufDirectRead => {
                // The mapping is the memfd's: the udmabuf's own cannot be pinned for direct I/O.
                let (memfd, dma_buf) = udmabuf(len)?;
                let pages = map(memfd.as_fd(), bytes)?;
                times.alloc += start.elapsed();
                let start = Instant::now();
                read(&pages, bytes, file, offset)?;
                times.read += start.elapsed();
                Ok(Filled { _dma_buf: dma_buf, pages })
            }
            Row::UdmabufBufferSendfile | Row::UdmabufDirectSendfile => {
                let (memfd, dma_buf) = udmabuf(len)?;
                times.alloc += start.elapsed();
                let start = Instant::now();
                let mut done = 0;
                while done < bytes {
                    let sent = sendfile(memfd.as_fd(), file, offset + done as u64, bytes - done)
                        .context("sendfile")?;
                    ensure!(sent > 0, "sendfile: the file ended early");
                    done += sent;
                }
                times.read += start.elapsed();
                Ok(Filled { pages: map(memfd.as_fd(), bytes)?, _dma_buf: dma_buf })
            }
            Row::DmabufBufferRead => {
                let dma_buf = Allocator::open(Heap::System)?.allocate(len)?.fd;
                let pages = map(dma_buf.as_fd(), bytes)?;
                times.alloc += start.elapsed();
                let start = Instant::now();
                read(&pages, bytes, file, offset)?;
                times.read += start.elapsed();
                Ok(Filled { _dma_buf: dma_buf, pages })
            }
            Row::RwFileDirectRead => {
                let dma_buf = Allocator::open(Heap::System)?.allocate(len)?.fd;
                times.alloc += start.elapsed();
                let start = Instant::now();
                let request = uapi::dma_buf_rw_file {
                    flags: uapi::DMA_BUF_RW_FLAGS_READ | uapi::DMA_BUF_RW_FLAGS_DIRECT,
                    fd: file.as_raw_fd(),
                    file_offset: offset,
                    buf_offset: 0,
                    buf_len: len,
                };
                ioctl::dma_buf_rw_file(dma_buf.as_fd(), request)
                    .context("DMA_BUF_IOCTL_RW_FILE")?;
                times.read += start.elapsed();
                Ok(Filled { pages: map(dma_buf.as_fd(), bytes)?, _dma_buf: dma_buf })
            }
        }
    }

    /// Compares a buffer with the file, both read by the CPU.
    fn verify(&self, filled: &Filled, offset: u64, len: u64) -> Result<()> {
        const STEP: usize = 1 << 20;
        let (mut in_file, mut in_buffer) = (vec![0; STEP], vec![0; STEP]);
        let mut done = 0;
        while done < len {
            let step = STEP.min((len - done) as usize);
            self.buffered.read_exact_at(&mut in_file[..step], offset + done)?;
            filled.pages.read(done as usize, &mut in_buffer[..step])?;
            ensure!(
                in_file[..step] == in_buffer[..step],
                "the buffer differs from the file after offset {}",
                offset + done
            );
            done += step as u64;
        }
        Ok(())
    }
}

/// A memfd of `len` bytes and the dma-buf made of its pages.
fn udmabuf(len: u64) -> Result<(OwnedFd, OwnedFd)> {
    let memfd = memfd_create("dmabufio-bench", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memfd, len)?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK)?;
    let device = File::open("/dev/udmabuf").context("open /dev/udmabuf")?;
    let dma_buf = ioctl::udmabuf_create(device.as_fd(), memfd.as_fd(), len)
        .context("UDMABUF_CREATE; a smaller --chunk may fit its size_limit_mb")?;
    Ok((memfd, dma_buf))
}

fn map(fd: BorrowedFd<'_>, len: usize) -> Result<Mapping> {
    Mapping::new(fd, 0, len, Access::ReadWrite).context("mmap")
}

/// Reads `len` bytes of `file` into the mapping.
fn read(pages: &Mapping, len: usize, file: BorrowedFd<'_>, offset: u64) -> Result<()> {
    let mut done = 0;
    while done < len {
        match pages.fill(done, len - done, file, offset + done as u64) {
            Ok(0) => anyhow::bail!("read: the file ended early"),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("read"),
        }
    }
    Ok(())
}

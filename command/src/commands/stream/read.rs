//! `dmabufio stream read`

use super::latencies::Latencies;
use super::ring_args::RingArgs;
use crate::commands::{verify, ModeArg};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{Context, Result};
use dmabufio_client::open_regular;
use dmabufio_client::stream::{Next, Ring, StreamRequest};
use dmabufio_core::extent::Direction;
use dmabufio_core::sys::clock::monotonic_nanos;
use rustix::fs::OFlags;
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Read a file from start to end through a ring, as fast as the disk allows
#[derive(clap::Args)]
pub struct Args {
    /// The file to read
    file: PathBuf,

    #[command(flatten)]
    ring: RingArgs,

    /// How much must bypass the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// Compare each frame with the file, both read by the CPU
    #[arg(long)]
    verify: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    file: NameField,
    frames: u64,
    bytes: u64,
    frame_bytes: u64,
    /// Bytes of all buffers of the ring.
    ring_bytes: u64,
    total_nanos: u64,
    /// From the completion of a frame that this command waited for, until it had the frame.
    wake: Option<Latencies>,
    receipt: ReceiptReport,
    /// Compared with the file, and equal.
    verified: bool,
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let name = shown(&args.file);
    let file = client.open_for_transfer(&args.file, args.mode.into())?;
    // Another descriptor, which never has O_DIRECT.
    let compared = open_regular(&args.file, OFlags::empty())?;
    let (frame_bytes, ring) = (args.ring.frame, Ring::Allocate(args.ring.buffers));
    let request = StreamRequest::new(file.as_fd(), Direction::Load, frame_bytes, ring);
    let request = StreamRequest { mode: args.mode.into(), tag: "stream", ..request };
    let mut stream = client.open_stream(&request).with_context(|| name.clone())?;
    let ring_bytes = stream.buffers().iter().map(|buffer| buffer.size()).sum();
    let (start, mut wakes) = (Instant::now(), Vec::new());
    let (mut frames, mut bytes) = (0, 0);
    let past = Some(start);
    loop {
        let (next, waited) = match stream.next(past).with_context(|| name.clone())? {
            Next::TimedOut => (stream.next(None).with_context(|| name.clone())?, true),
            next => (next, false),
        };
        let Next::Frame(frame) = next else { break };
        if waited {
            let ready = u64::try_from(frame.ready_nanos).unwrap_or(0);
            wakes.push(monotonic_nanos().saturating_sub(ready));
        }
        if args.verify {
            let buffer = stream.buffers().get(frame.index).context("a buffer of the ring")?;
            verify::equal(&compared, frame.file_offset, buffer, frame.buffer_offset, frame.len)
                .with_context(|| format!("verify frame {}", frame.number))?;
        }
        (frames, bytes) = (frames + 1, bytes + frame.len);
        stream.release(frame.index)?;
    }
    let total = start.elapsed();
    stream.finish()?;
    let receipt = stream.wait().with_context(|| name.clone())?;
    let report = Report {
        file: NameField::new("file", &args.file),
        frames,
        bytes,
        frame_bytes,
        ring_bytes,
        total_nanos: total.as_nanos() as u64,
        wake: Latencies::new(wakes),
        receipt: ReceiptReport::new(&receipt),
        verified: args.verify,
    };
    output.result(&report, |out| {
        let (what, via) = (size::bytes(report.bytes), connect.describe());
        let total = Duration::from_nanos(report.total_nanos);
        writeln!(out, "read {name}: {what} in {} frames by {via}", report.frames)?;
        writeln!(
            out,
            "  total      {:>10}  {}",
            size::time(total),
            size::rate(report.bytes, total)
        )?;
        writeln!(out, "  ring       {:>10}", size::bytes(report.ring_bytes))?;
        if let Some(wake) = &report.wake {
            writeln!(out, "  wake       {}", wake.text())?;
        }
        report.receipt.write_of_frames(out)?;
        if report.verified {
            writeln!(out, "  verified   every frame equal to the file")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

//! `dmabufio stream record`

use super::ring_args::RingArgs;
use crate::commands::{DurabilityArg, ModeArg};
use crate::connect::ConnectArgs;
use crate::name::{shown, NameField};
use crate::output::{Output, ReceiptReport};
use crate::size;
use anyhow::{ensure, Context, Result};
use dmabufio_client::stream::{Acquired, Ring, StreamRequest};
use dmabufio_client::{open_regular, Buffer};
use dmabufio_core::extent::Direction;
use dmabufio_core::sys::sysconf::page_size;
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Record frames at a fixed rate, as a camera makes them, into a new file
///
/// A frame that finds no free buffer before the next frame is due is dropped, as the camera cannot
/// wait. The report counts the dropped frames and names them.
///
/// Without --from, each frame begins with its number, as 8 bytes in little endian.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The file to create; it must not exist
    destination: PathBuf,

    #[command(flatten)]
    ring: RingArgs,

    /// The frames in each second
    #[arg(long, value_name = "NUMBER", default_value = "60")]
    rate: u32,

    /// How many frames are due; with --from, at most
    #[arg(long, value_name = "NUMBER", default_value = "300")]
    frames: u64,

    /// Take the content of the frames from this file, up to its end
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Whether the stream bypasses the page cache
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,

    /// The data that is on stable storage on success
    #[arg(long, value_enum, default_value = "full")]
    durability: DurabilityArg,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    destination: NameField,
    /// Frames that were due.
    frames: u64,
    written: u64,
    dropped: u64,
    /// The first and the last number of each run of dropped frames.
    dropped_frames: Vec<(u64, u64)>,
    bytes: u64,
    ring_bytes: u64,
    /// From the first frame until the last one was submitted.
    recording_nanos: u64,
    /// From then on until the file was complete and durable.
    finishing_nanos: u64,
    receipt: ReceiptReport,
}

/// Where the content of frames comes from.
enum Source {
    /// The number of the frame.
    Numbers,
    File {
        file: File,
        chunk: Vec<u8>,
    },
}

impl Source {
    /// Fills a buffer from byte `at` on with up to `len` bytes, and returns how many.
    fn fill(&mut self, buffer: &Buffer, at: u64, number: u64, len: u64) -> Result<u64> {
        match self {
            Self::Numbers => {
                let number = number.to_le_bytes();
                buffer.write(at, &number[..number.len().min(len as usize)])?;
                Ok(len)
            }
            Self::File { file, chunk } => {
                let mut done = 0;
                while done < len {
                    let room = (len - done).min(chunk.len() as u64) as usize;
                    let count = file.read(&mut chunk[..room]).context("read the frames")?;
                    if count == 0 {
                        break;
                    }
                    buffer.write(at + done, &chunk[..count])?;
                    done += count as u64;
                }
                Ok(done)
            }
        }
    }
}

/// Adds `frame` to the last run of numbers, or begins another.
fn add(runs: &mut Vec<RangeInclusive<u64>>, frame: u64) {
    match runs.last_mut() {
        Some(run) if *run.end() + 1 == frame => *run = *run.start()..=frame,
        _ => runs.push(frame..=frame),
    }
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    ensure!(args.rate > 0, "--rate: a recorder needs at least one frame in a second");
    let client = connect.connect()?;
    let name = shown(&args.destination);
    let mut source = match &args.from {
        None => Source::Numbers,
        Some(path) => {
            let file = open_regular(path, OFlags::empty())?;
            Source::File { file, chunk: vec![0; 1 << 20] }
        }
    };
    let file = File::create_new(&args.destination).with_context(|| format!("create {name}"))?;
    let (frame_bytes, ring) = (args.ring.frame, Ring::Allocate(args.ring.buffers));
    let request = StreamRequest::new(file.as_fd(), Direction::Save, frame_bytes, ring);
    let request = StreamRequest {
        mode: args.mode.into(),
        durability: args.durability.into(),
        tag: "record",
        ..request
    };
    let mut stream = client.open_stream(&request).with_context(|| name.clone())?;
    let ring_bytes = stream.buffers().iter().map(Buffer::size).sum();
    let (start, mut frames, mut dropped) = (Instant::now(), 0, Vec::new());
    let mut position = 0;
    let due = |frame: u64| start + Duration::from_secs_f64(frame as f64 / f64::from(args.rate));
    while frames < args.frames {
        sleep(due(frames).saturating_duration_since(Instant::now()));
        let acquired = stream.acquire(Some(due(frames + 1))).with_context(|| name.clone())?;
        match acquired {
            Acquired::Buffer { index, frame } => {
                let buffer = stream.buffers().get(index).context("a buffer of the ring")?;
                // What has the same place in its page as in the file goes direct.
                let at = position % page_size();
                let len = source.fill(buffer, at, frame, frame_bytes)?;
                if len == 0 {
                    break;
                }
                let timestamp = start.elapsed().as_nanos() as i64;
                stream.submit(index, at, len, timestamp).with_context(|| name.clone())?;
                position += len;
            }
            Acquired::Dropped { frame } => add(&mut dropped, frame),
        }
        frames += 1;
    }
    let recording = start.elapsed();
    let lost = stream.dropped();
    stream.finish()?;
    let receipt = stream.wait().with_context(|| name.clone())?;
    if args.durability == DurabilityArg::Full {
        let folder = args.destination.parent().filter(|folder| *folder != Path::new(""));
        let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
        synced.with_context(|| format!("sync the folder of {name}"))?;
    }
    let report = Report {
        destination: NameField::new("destination", &args.destination),
        frames,
        written: frames - lost,
        dropped: lost,
        dropped_frames: dropped.iter().map(|run| (*run.start(), *run.end())).collect(),
        bytes: receipt.bytes(),
        ring_bytes,
        recording_nanos: recording.as_nanos() as u64,
        finishing_nanos: (start.elapsed() - recording).as_nanos() as u64,
        receipt: ReceiptReport::new(&receipt),
    };
    output.result(&report, |out| {
        let (what, via) = (size::bytes(report.bytes), connect.describe());
        writeln!(out, "recorded {name}: {what} in {} frames by {via}", report.written)?;
        let rate = size::rate(report.bytes, start.elapsed());
        writeln!(out, "  recording  {:>10}  {rate}", size::time(recording))?;
        let finishing = Duration::from_nanos(report.finishing_nanos);
        writeln!(out, "  finishing  {:>10}", size::time(finishing))?;
        writeln!(out, "  ring       {:>10}", size::bytes(report.ring_bytes))?;
        writeln!(out, "  dropped    {:>10}  of {} frames", report.dropped, report.frames)?;
        for (first, last) in &report.dropped_frames {
            match first == last {
                true => writeln!(out, "    frame {first}")?,
                false => writeln!(out, "    frames {first} to {last}")?,
            }
        }
        report.receipt.write_of_frames(out)
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_frames_are_one_run() {
        let mut runs = Vec::new();
        [3, 4, 5, 9, 11, 12].into_iter().for_each(|frame| add(&mut runs, frame));
        assert_eq!(runs, [3..=5, 9..=9, 11..=12]);
    }
}

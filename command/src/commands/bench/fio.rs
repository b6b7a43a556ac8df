//! Rows that fio measures, if it is installed: the disk rate of a program that only reads.

use super::runner::{Case, Source, Times};
use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The way in which fio reads.
#[derive(Clone, Copy)]
pub struct Job {
    /// Bytes in one request.
    pub block: u64,
    /// Requests at the same time. More than one needs io_uring.
    pub depth: u32,
    /// Leaves out every second block.
    pub strided: bool,
    /// Buffers registered with io_uring, in shared memory as a memfd's is.
    pub registered: bool,
}

impl Job {
    pub const fn sequential(block: u64, depth: u32) -> Self {
        Self { block, depth, strided: false, registered: false }
    }

    fn name(self) -> String {
        let block = match self.block {
            block if block >= 1 << 20 => format!("{}M", block >> 20),
            block => format!("{}K", block >> 10),
        };
        let strided = if self.strided { ", every second block" } else { "" };
        match self.depth {
            1 => format!("fio psync bs={block}{strided}"),
            depth if self.registered => {
                format!("fio io_uring bs={block} depth={depth}, registered shared memory")
            }
            depth => format!("fio io_uring bs={block} depth={depth}{strided}"),
        }
    }

    fn args(self) -> Vec<String> {
        let Self { block, depth, strided, registered } = self;
        let engine = if depth == 1 { "psync" } else { "io_uring" };
        let rw = if strided { format!("read:{block}") } else { "read".to_owned() };
        let mut args = vec![
            format!("--ioengine={engine}"),
            format!("--rw={rw}"),
            format!("--bs={block}"),
            format!("--iodepth={depth}"),
        ];
        if registered {
            args.extend(["--fixedbufs=1".to_owned(), "--iomem=mmapshared".to_owned()]);
        }
        args
    }
}

/// A row that reads `bytes` of the file.
pub fn case(source: &Source, job: Job, bytes: u64) -> Case<'_> {
    Case::new(job.name(), bytes, move |_| run(&source.path, job, bytes))
}

#[derive(Deserialize)]
struct Output {
    jobs: Vec<Done>,
}

#[derive(Deserialize)]
struct Done {
    error: i32,
    read: Read,
}

#[derive(Deserialize)]
struct Read {
    io_bytes: u64,
    /// Milliseconds.
    runtime: u64,
    lat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    mean: f64,
    #[serde(rename = "N")]
    count: u64,
}

fn run(file: &Path, job: Job, bytes: u64) -> Result<Times> {
    let output = Command::new("fio")
        .args(["--name=bench", "--readonly", "--direct=1", "--output-format=json"])
        .arg(format!("--filename={}", file.display()))
        .arg(format!("--io_size={bytes}"))
        .args(job.args())
        .output()
        .context("start fio; install it for this row")?;
    ensure!(output.status.success(), "fio: {}", String::from_utf8_lossy(&output.stderr).trim());
    let io = time(&output.stdout, job.depth, bytes)?;
    Ok(Times { io, ..Times::default() })
}

/// The time that fio spent in reads, from its output.
fn time(printed: &[u8], depth: u32, bytes: u64) -> Result<Duration> {
    // fio may print notes before the object.
    let start = printed.iter().position(|&byte| byte == b'{').context("fio printed no JSON")?;
    let output: Output = serde_json::from_slice(&printed[start..]).context("fio's JSON")?;
    let [Done { error: 0, read }] = output.jobs.as_slice() else { bail!("fio: its job failed") };
    ensure!(read.io_bytes == bytes, "fio read {} bytes instead of {bytes}", read.io_bytes);
    Ok(match depth {
        // For consecutive requests: the sum of their times, without the time of fio itself.
        1 => Duration::from_nanos((read.lat_ns.mean * read.lat_ns.count as f64) as u64),
        _ => Duration::from_millis(read.runtime),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &[u8] = br#"fio: a note
{"jobs":[{"error":0,"read":{"io_bytes":4096,"runtime":7,"lat_ns":{"mean":1500.5,"N":2}}}]}"#;

    #[test]
    fn single_requests_take_the_sum_of_their_times() -> Result<()> {
        assert_eq!(time(PRINTED, 1, 4096)?, Duration::from_nanos(3001));
        assert_eq!(time(PRINTED, 8, 4096)?, Duration::from_millis(7));
        Ok(())
    }

    #[test]
    fn reading_less_than_asked_is_an_error() {
        assert!(time(PRINTED, 1, 8192).is_err());
        assert!(time(b"nothing", 1, 4096).is_err());
    }
}

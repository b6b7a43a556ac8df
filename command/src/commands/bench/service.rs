//! The cost of the service as a process: its memory and its start time.

use super::figures::{ServiceFigures, Spread};
use super::ours::at_once;
use super::runner::{services, Cache, Source};
use crate::name::shown;
use anyhow::{bail, ensure, Context, Result};
use dmabufio_client::Client;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::iter;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Loads at the same time.
const LOADS: usize = 8;

/// Measures the memory of the running service: before, and the maximum while it serves loads of the
/// whole file.
pub fn memory(source: &Source, client: &Client) -> Result<ServiceFigures> {
    let pids = services();
    let [pid] = pids.as_slice() else {
        bail!(
            "{} processes are called dmabufio-service; run one to measure its memory",
            pids.len()
        );
    };
    let idle = status(*pid, "VmRSS:")?;
    // Resets VmHWM.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of the service")?;
    source.settle(Cache::Cold)?;
    let pages = source.cached_pages();
    // Several transfers may fill one buffer, so one is enough.
    let part = (0..source.len, client.allocate(source.len, "bench")?);
    at_once(iter::repeat_n(&part, LOADS), source, client)?;
    Ok(ServiceFigures {
        idle_rss_bytes: idle,
        rss_growth_bytes: status(*pid, "VmHWM:")?.saturating_sub(idle),
        loads: LOADS as u64,
        bytes_per_load: source.len,
        page_cache_growth_pages: source.cached_pages().saturating_sub(pages),
    })
}

/// A line of `/proc/PID/status`, in bytes.
fn status(pid: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = value.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path}: no {key}"))? << 10)
}

/// Starts the service beside this program `runs` times and measures how long it takes to register.
/// It takes the name of the running service, which clients then cannot find any more.
pub fn start(runs: u32) -> Result<Option<Spread>> {
    let program = env::current_exe()?.with_file_name("dmabufio-service");
    let mut times = Vec::new();
    // The first start reads the program from its disk.
    for _ in 0..=runs {
        let start = Instant::now();
        let mut service = Command::new(&program)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", shown(&program)))?;
        let log = BufReader::new(service.stderr.take().context("the service's log")?);
        let registered = log.lines().map_while(Result::ok).any(|line| line.contains("registered"));
        times.push(start.elapsed());
        service.kill().context("end the service")?;
        service.wait()?;
        ensure!(registered, "{}: it did not register", shown(&program));
    }
    Ok(Spread::new(times.into_iter().skip(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn own_memory_is_found() {
        let peak = status(process::id(), "VmHWM:").expect("a peak");
        assert!(peak >= 1 << 20, "{peak}");
    }
}

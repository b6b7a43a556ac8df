//! `dmabufio stat`: what the service does now.

use crate::connect::ConnectArgs;
use crate::output::{print, Output};
use crate::size;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fmt::Write;
use std::io::{stdout, IsTerminal};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// The time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Moves to the first line of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show what the service does, once a second
///
/// The rates are those since the look before, or since the service counts. End it with Ctrl-C.
#[derive(clap::Args)]
pub struct Args {
    /// Look once and end
    #[arg(long)]
    once: bool,
}

/// What is shown of the dump that docs/dump.md describes.
#[derive(Deserialize)]
struct Dump {
    heap: String,
    methods: Vec<String>,
    waiting: u64,
    abandoned: u64,
    batches: u64,
    streams: u64,
    queued: u64,
    moving: u64,
    in_flight: Vec<Flight>,
    users: Vec<User>,
    counted_us: u64,
    transfers: u64,
    bytes_direct: u64,
    bytes_bounced: u64,
    bytes_buffered: u64,
    latencies: Vec<Latency>,
    errors: u64,
}

#[derive(Deserialize)]
struct Flight {
    id: u64,
    call: String,
    uid: u32,
    class: Option<String>,
    phase: String,
    age_us: u64,
    moved: u64,
    total: u64,
}

#[derive(Deserialize)]
struct User {
    uid: u32,
    buffers: u64,
    bytes: u64,
    max_buffers: u64,
    max_bytes: u64,
}

#[derive(Deserialize)]
struct Latency {
    class: String,
    method: Option<String>,
    phase: String,
    count: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Dump {
    /// Text for people. The rates are those since `before`.
    fn text(&self, before: Option<&Self>) -> String {
        // After a reset, the service counts from zero.
        let before = before.filter(|before| before.counted_us < self.counted_us);
        let since = |of: fn(&Self) -> u64| of(self).saturating_sub(before.map_or(0, of));
        let time = Duration::from_micros(since(|dump| dump.counted_us));
        let rate = |of: fn(&Self) -> u64| size::rate(since(of), time);
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        let method = self.methods.first().map_or("no method", String::as_str);
        line(format!("heap {}, {method}", self.heap));
        line(format!(
            "requests   {} running, {} given up, {} batches, {} streams; \
             {} wait for a turn, {} have one",
            self.waiting, self.abandoned, self.batches, self.streams, self.queued, self.moving
        ));
        line(format!(
            "moved      {} direct, {} bounced, {} buffered",
            rate(|dump| dump.bytes_direct),
            rate(|dump| dump.bytes_bounced),
            rate(|dump| dump.bytes_buffered)
        ));
        line(format!(
            "ended      {} transfers and {} errors in {}",
            since(|dump| dump.transfers),
            since(|dump| dump.errors),
            size::time(time)
        ));
        for Flight { id, call, uid, class, phase, age_us, moved, total } in &self.in_flight {
            let class = class.as_deref().unwrap_or("-");
            line(format!(
                "  {id:>8} {call:<9} uid {uid:<7} {class:<11} {phase:<7} {:>10} of {:<10} {}",
                size::bytes(*moved),
                size::bytes(*total),
                size::time(Duration::from_micros(*age_us))
            ));
        }
        for User { uid, buffers, bytes, max_buffers, max_bytes } in &self.users {
            line(format!(
                "user {uid:<7} {buffers} of {max_buffers} buffers, {} of {}",
                size::bytes(*bytes),
                size::bytes(*max_bytes)
            ));
        }
        for Latency { class, method, phase, count, p50_us, p99_us, max_us } in &self.latencies {
            let method = method.as_deref().unwrap_or("-");
            let [p50, p99, max] =
                [p50_us, p99_us, max_us].map(|us| size::time(Duration::from_micros(*us)));
            line(format!(
                "{class:<11} {method:<16} {phase:<5} {count:>8}  p50 {p50}, p99 {p99}, max {max}"
            ));
        }
        out
    }
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let client = connect.connect()?;
    let mut before: Option<Dump> = None;
    loop {
        let json = client.dump(&["--json"])?;
        let dump: Dump = serde_json::from_str(&json).context("the dump of the service")?;
        let text = match (output.is_json(), stdout().is_terminal() && !args.once) {
            (true, _) => json,
            (false, true) => format!("{CLEAR}{}", dump.text(before.as_ref())),
            (false, false) => dump.text(before.as_ref()),
        };
        print(&text).context("write to standard output")?;
        if args.once {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some(dump);
        sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(counted_us: u64, transfers: u64, bytes: u64) -> Dump {
        let text = format!(
            r#"{{"schema":1,"heap":"system","methods":["rw_file direct"],"waiting":1,
            "abandoned":0,"batches":0,"streams":0,"queued":1,"moving":0,"in_flight":[{{"id":12,
            "call":"transfer","uid":10001,"class":"normal","phase":"queued","abandoned":false,
            "age_us":1500,"moved":0,"total":1048576}}],"users":[{{"uid":10001,"buffers":1,
            "bytes":1048576,"promised_buffers":0,"promised_bytes":0,"max_buffers":4096,
            "max_bytes":1073741824,"max_requests":16,"max_batches":8,"max_streams":4}}],
            "counted_us":{counted_us},"transfers":{transfers},"bytes_direct":{bytes},
            "bytes_bounced":0,"bytes_buffered":0,"latencies":[],"errors":0}}"#
        );
        serde_json::from_str(&text).expect("a dump")
    }

    #[test]
    fn rates_are_those_since_the_look_before_or_the_reset() {
        let (before, now) = (dump(5_000_000, 10, 0), dump(7_000_000, 14, 4_000_000_000));
        let text = now.text(Some(&before));
        assert!(text.contains("4 transfers and 0 errors in 2.0"), "{text}");
        assert!(text.contains("2.00 GB/s direct"), "{text}");
        let text = dump(1_000_000, 3, 0).text(Some(&before));
        assert!(text.contains("3 transfers and 0 errors in 1.0"), "{text}");
        assert!(text.contains("12 transfer  uid 10001   normal"), "{text}");
    }
}

//! The same rows on a machine that is short of memory or of CPU.

use super::fill::buffered_and_direct;
use super::ours::{load_case, Clients};
use super::runner::{Case, Source, Times};
use anyhow::{Context, Result};
use dmabufio_core::sys::sysconf::page_size;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

/// Busy processes on each CPU.
const SPINNERS: usize = 3;

/// The shortage during a row.
#[derive(Clone, Copy)]
enum Held {
    Nothing,
    Memory,
    Cpu,
}

/// Rows without and with less memory, and with less CPU.
pub fn pressure<'a>(source: &'a Source, clients: &'a Clients, chunk: u64) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for (held, name) in
        [(Held::Nothing, "idle"), (Held::Memory, "little memory"), (Held::Cpu, "little CPU")]
    {
        let [buffered, direct] = buffered_and_direct(source, name, chunk);
        let load = load_case(source, &clients.service, format!("{name}: load"), chunk);
        cases.extend([buffered, direct, load].map(|case| hold(case, held, source.len)));
    }
    cases
}

/// The same case during the shortage. The start of the shortage does not count.
fn hold(case: Case<'_>, held: Held, bytes: u64) -> Case<'_> {
    let mut run = case.run;
    let run = move |check| -> Result<Times> {
        match held {
            Held::Nothing => run(check),
            Held::Memory => {
                let memory = Hog::new(bytes)?;
                let times = run(check);
                drop(memory);
                times
            }
            Held::Cpu => {
                let spinners = Spinners::start()?;
                let times = run(check);
                drop(spinners);
                times
            }
        }
    };
    Case { run: Box::new(run), ..case }
}

/// Memory in use, so that little more than the buffers' `bytes` is left.
struct Hog(#[expect(dead_code, reason = "held for its size")] Vec<u8>);

impl Hog {
    fn new(bytes: u64) -> Result<Self> {
        let available = available_memory()?;
        // An eighth more than the buffers, which the kernel needs to run.
        let len = available.saturating_sub(bytes + bytes / 8 + (64 << 20));
        let mut memory = vec![0; len as usize];
        memory.iter_mut().step_by(page_size() as usize).for_each(|byte| *byte = 1);
        Ok(Self(memory))
    }
}

fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc/meminfo: no MemAvailable")? << 10)
}

/// Processes that take CPU time away, until dropped. Not threads: their CPU time would count as
/// ours.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start() -> Result<Self> {
        let mut spinners = Self(Vec::new());
        for _ in 0..SPINNERS * available_parallelism()?.get() {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            spinners.0.push(command.spawn().context("start a busy process")?);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! Children that cannot outlive us: each has a process group, which an interrupt or the drop of its
//! guard ends.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Error, Result};
use rustix::process::{kill_process_group, Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The time that a child has to clean up after an interrupt.
const GRACE: Duration = Duration::from_secs(3);

/// The process groups to end on an interrupt. A static, because signals concern the process.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// The signal that interrupted this run, 0 before there is one.
static INTERRUPTED: AtomicI32 = AtomicI32::new(0);

/// From here on SIGINT, SIGTERM and SIGHUP end the children and make the running step fail, so that callers
/// unwind and clean up. A second signal exits at once.
pub fn handle_interrupts() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("installing signal handlers")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if INTERRUPTED.swap(signal, Ordering::SeqCst) != 0 {
                end_groups(Signal::KILL);
                process::exit(128 + signal);
            }
            end_groups(Signal::TERM);
            thread::spawn(|| {
                thread::sleep(GRACE);
                end_groups(Signal::KILL);
            });
        }
    });
    Ok(())
}

/// The signal that interrupted this run, if one did.
pub fn interrupted() -> Option<i32> {
    match INTERRUPTED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

fn end_groups(signal: Signal) {
    for pid in GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(pid) = Pid::from_raw(*pid) {
            // It may have ended by itself already.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// A child with its own process group, which an interrupt or a drop ends.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    group: i32,
}

impl Guarded {
    /// Starts `command`. The thread that calls this must live as long as the child: the kernel's parent-death
    /// signal is tied to the thread.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        if let Some(signal) = interrupted() {
            bail!("interrupted by signal {signal}");
        }
        let shown = show(command);
        let child = command.process_group(0).spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => anyhow!("starting `{shown}`: there is no such program"),
            _ => Error::from(error).context(format!("starting `{shown}`")),
        })?;
        let group = i32::try_from(child.id()).context("process id")?;
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        Ok(Guarded { child, group })
    }

    /// The child, to take its pipes from.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end; `None` when `timeout` passed first.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(status) = self.child.try_wait().context("waiting for a child")? {
                return Ok(Some(status));
            }
            if timeout.is_some_and(|limit| start.elapsed() >= limit) {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Ends the whole group: asks first, then kills.
    pub fn end(&mut self) {
        for (signal, wait) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            if let Some(pid) = Pid::from_raw(self.group) {
                let _ = kill_process_group(pid, signal);
            }
            if matches!(self.wait(Some(wait)), Ok(Some(_))) {
                break;
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.group);
    }
}

/// The program and its arguments in the syntax of a shell, without the wrappers of `exec::command`
/// and `exec::contained`.
pub fn show(command: &Command) -> String {
    let mut words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    for wrapper in ["setpriv", "unshare"] {
        let end = words.iter().position(|word| *word == "--");
        if let Some(end) = end.filter(|_| words[0] == wrapper) {
            words.drain(..=end);
        }
    }
    words.iter().map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// `word`, quoted for a shell if necessary.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn dropped_child_is_gone() -> Result<()> {
        let child = Guarded::spawn(Command::new("sleep").arg("1000"))?;
        let pid = child.group;
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        Ok(())
    }
}

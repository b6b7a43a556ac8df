//! Runs other programs as named steps: quiet while they work, precise when they fail.
//!
//! A step's output goes to a log in the cache. A terminal shows a spinner with the time and the
//! progress, if the program reports it; a pipe gets plain lines. The log of a failed step stays,
//! and the error names it. No child outlives this process: each has its own process group, which an
//! interrupt ends, and the kernel kills it if we die.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::geteuid;

use crate::cache;

mod guard;

use guard::show;
pub use guard::{handle_interrupts, interrupted, quote, Guarded};

/// The number of lines of a failed step's log in the error.
const TAIL_LINES: usize = 25;
/// The time between two signs of life in a pipe: CI systems end silent jobs.
const PLAIN_EVERY: Duration = Duration::from_secs(60);

/// A command for `program`. The kernel kills its process when we die.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// As [`command`], for a program that starts others: its own process namespace makes the kernel end
/// all of them with the first one.
pub fn contained(program: impl AsRef<OsStr>) -> Command {
    let mut command = command("unshare");
    if !geteuid().is_root() {
        command.arg("--map-current-user");
    }
    command.args(["--pid", "--fork", "--kill-child", "--"]).arg(program);
    command
}

/// Reads the progress of a step from one line of its output, if the line has it.
pub type Progress = Box<dyn FnMut(&str) -> Option<String>>;

/// One named step.
pub struct Step {
    what: String,
    hint: Option<String>,
    progress: Option<Progress>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Step {
    /// A step with the name `what`, a gerund with its object: "building the patched kernel
    /// 6.12.117".
    pub fn new(what: impl Into<String>) -> Self {
        Step { what: what.into(), hint: None, progress: None }
    }

    /// Adds a hint for the case that it fails.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows the progress that `progress` finds in the output.
    pub fn progress(mut self, progress: impl FnMut(&str) -> Option<String> + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Runs `command` to its end, with its output in the log. Fails unless it succeeds.
    pub fn run(self, command: &mut Command) -> Result<()> {
        self.capture(command).map(drop)
    }

    /// As [`Step::run`], and returns its standard output and error in one text.
    pub fn capture(mut self, command: &mut Command) -> Result<String> {
        let log = self.log_path()?;
        let mut sink =
            File::create(&log).with_context(|| format!("creating the log {}", log.display()))?;
        writeln!(sink, "$ {}", show(command))?;
        let (reader, writer) = io::pipe().context("making a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let start = Instant::now();
        let bar = ProgressBar::new_spinner().with_message(self.what.clone());
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")?);
        bar.enable_steady_tick(Duration::from_millis(120));
        if bar.is_hidden() {
            say(&self.what);
        }
        let mut child = Guarded::spawn(command).with_context(|| format!("while {}", self.what))?;
        // The command still holds the writing ends; the reader sees the end of file only after they
        // are closed.
        command.stdout(Stdio::null()).stderr(Stdio::null());

        let (lines, incoming) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(io::Result::ok) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut output = String::new();
        let mut said = Instant::now();
        let mut state = String::new();
        loop {
            match incoming.recv_timeout(Duration::from_millis(250)) {
                Ok(line) => {
                    writeln!(sink, "{line}")?;
                    output += &format!("{line}\n");
                    if let Some(text) = self.progress.as_mut().and_then(|progress| progress(&line))
                    {
                        state = format!(": {text}");
                        bar.set_message(format!("{}{state}", self.what));
                    }
                }
                // A grandchild may hold the pipe for ever; the end of the child counts.
                Err(RecvTimeoutError::Timeout)
                    if matches!(child.child().try_wait(), Ok(Some(_))) =>
                {
                    break
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if bar.is_hidden() && said.elapsed() >= PLAIN_EVERY {
                said = Instant::now();
                eprintln!("    still at it after {}{state}", elapsed(start.elapsed()));
            }
        }
        let status = child.wait(None)?.context("a child that never ends")?;
        bar.finish_and_clear();
        let Step { what, hint, .. } = self;
        if let Some(signal) = interrupted() {
            let _ = fs::remove_file(&log);
            bail!("interrupted by signal {signal} while {what}");
        }
        let took = elapsed(start.elapsed());
        if status.success() {
            say(&format!("{what} ({took})"));
            let _ = fs::remove_file(&log);
            return Ok(output);
        }
        let hint = hint.map_or(String::new(), |hint| format!("\nnext: {hint}"));
        bail!(
            "{what} failed: `{}` {} after {took}{hint}\nfull log: {}\nits last lines:\n{}",
            show(command),
            describe(&status),
            log.display(),
            tail(&output)
        )
    }

    fn log_path(&self) -> Result<PathBuf> {
        Ok(cache::subdir("logs")?.join(format!("{}-{}.log", slug(&self.what), process::id())))
    }
}

/// Our search path with `first` in front and the system's folders at the end.
pub fn path_with(first: &[PathBuf]) -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let all = first.iter().cloned().chain(env::split_paths(&own)).chain(system);
    // The names come from a search path, so they can be in one.
    env::join_paths(all).unwrap_or(own)
}

/// The last lines of `text`, indented.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Prints a line about the current work to standard error; standard output belongs to the programs.
pub fn say(text: &str) {
    eprintln!("==> {text}");
}

/// A duration for people: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn elapsed(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{secs} s"),
        _ => format!("{} min {:02} s", secs / 60, secs % 60),
    }
}

/// The end of a program, in words.
pub fn describe(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

fn slug(what: &str) -> String {
    let words: Vec<String> = what
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-").chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapper_is_not_shown() {
        assert_eq!(show(command("make").args(["-j2", "a b"])), "make -j2 'a b'");
        assert_eq!(show(contained("make").args(["--", "x"])), "make -- x");
        assert_eq!(show(Command::new("true").arg("")), "true ''");
    }

    #[test]
    fn slug_is_a_file_name() {
        assert_eq!(
            slug("building the kernel 6.12.117 (stock)"),
            "building-the-kernel-6.12.117-stock"
        );
        assert_eq!(slug(&"x".repeat(100)).len(), 60);
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let kept = tail(&text);
        assert_eq!(kept.lines().count(), TAIL_LINES);
        assert!(kept.ends_with("99"));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(elapsed(Duration::from_millis(420)), "0.4 s");
        assert_eq!(elapsed(Duration::from_secs(185)), "3 min 05 s");
    }
}

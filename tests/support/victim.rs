//! Clients that a test kills: they are this test program again, and run the same test.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Tells the test program that it is a client to kill, and which file to work on.
const VICTIM: &str = "DMABUFIO_TEST_VICTIM";

/// What a client prints when it may be killed.
const AT_WORK: &str = "the victim is at work";

/// The file to work on, in a client; `None` in the test itself.
pub fn path() -> Option<PathBuf> {
    env::var_os(VICTIM).map(PathBuf::from)
}

/// In a client: it may be killed from now on.
pub fn is_at_work() {
    println!("{AT_WORK}");
}

/// Running clients.
pub struct Victims(Vec<Child>);

impl Victims {
    /// Starts clients that run `test` with the file at `path`, and returns when all of them are at
    /// work.
    pub fn start(test: &str, path: &Path, count: usize) -> Self {
        let start = |_| {
            Command::new(env::current_exe().expect("this program"))
                .args(["--exact", test, "--nocapture"])
                .env(VICTIM, path)
                .stdout(Stdio::piped())
                .spawn()
                .expect("start a client")
        };
        let mut victims: Vec<Child> = (0..count).map(start).collect();
        for victim in &mut victims {
            let output = BufReader::new(victim.stdout.take().expect("its output"));
            let at_work = output.lines().map_while(Result::ok).any(|line| line.contains(AT_WORK));
            assert!(at_work, "a client has ended before its work");
        }
        Self(victims)
    }

    /// Kills them, and returns when nothing of them runs.
    pub fn kill(mut self) {
        self.0.iter_mut().for_each(|victim| victim.kill().expect("kill"));
        for mut victim in self.0 {
            victim.wait().expect("wait");
        }
    }
}

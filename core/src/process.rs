//! Whether another process lives.

use crate::sys::pidfd;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io;

/// A process. It is never confused with a later one that gets the same number.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process with this number.
    ///
    /// # Errors
    /// As [`pidfd::open`].
    pub fn open(pid: i32) -> io::Result<Self> {
        pidfd::open(pid).map(Self)
    }

    /// Whether it has ended, with all its threads. Never waits.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, 0).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::process::Command;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    #[test]
    fn process_lives_until_it_is_killed_although_nobody_has_waited_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id() as i32;
        let process = Process::open(pid).expect("a descriptor");
        assert!(!process.has_ended());
        child.kill().expect("kill");
        let start = Instant::now();
        while !process.has_ended() {
            assert!(start.elapsed() < Duration::from_secs(10), "it has not ended");
            sleep(Duration::from_millis(1));
        }
        child.wait().expect("wait");
        assert!(process.has_ended());
        assert_eq!(Process::open(pid).map(drop), Err(Errno::SRCH));
    }

    #[test]
    fn number_that_names_no_process_is_refused() {
        // Binder gives 0 for a caller whose process has no number in the namespace of the service.
        assert_eq!(Process::open(0).map(drop), Err(Errno::INVAL));
    }
}

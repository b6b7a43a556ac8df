//! Threads that do the work of requests.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

/// How long a thread waits for its next request before it ends: longer than a client that calls in a
/// row needs, and too short to matter to who counts what is left of a client.
const REST: Duration = Duration::from_millis(100);

type Work = Box<dyn FnOnce() + Send>;

/// As many threads as there are requests: work never waits for other work, which may hang.
#[derive(Clone)]
pub struct Threads {
    rest: Duration,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    has_work: Condvar,
}

#[derive(Default)]
struct State {
    /// For the threads that rest: never more than there are.
    work: VecDeque<Work>,
    resting: usize,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("resting", &self.shared.lock().resting).finish()
    }
}

impl Threads {
    /// None yet.
    pub fn new() -> Self {
        Self { rest: REST, shared: Arc::default() }
    }

    /// Does `work` at once, on a thread that does nothing else meanwhile.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.work.len() < state.resting {
            state.work.push_back(Box::new(work));
            drop(state);
            self.shared.has_work.notify_one();
            return Ok(());
        }
        drop(state);
        let threads = self.clone();
        let run = move || {
            work();
            while let Some(work) = threads.shared.next(threads.rest) {
                work();
            }
        };
        thread::Builder::new().name("request".to_owned()).spawn(run).map(drop)
    }
}

impl Shared {
    /// Waits for work, for as long as `rest`.
    fn next(&self, rest: Duration) -> Option<Work> {
        let mut state = self.lock();
        state.resting += 1;
        let none = |state: &mut State| state.work.is_empty();
        let wait = self.has_work.wait_timeout_while(state, rest, none);
        let mut state = wait.unwrap_or_else(PoisonError::into_inner).0;
        state.resting -= 1;
        state.work.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{channel, Sender};
    use std::sync::Barrier;
    use std::thread::{sleep, ThreadId};

    fn say_who(threads: &Threads, sender: &Sender<ThreadId>) {
        let sender = sender.clone();
        let work = move || sender.send(thread::current().id()).expect("a test");
        threads.run(work).expect("a thread");
    }

    fn wait_for_rest(threads: &Threads, resting: usize) {
        while threads.shared.lock().resting != resting {
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn thread_that_rests_does_the_next_work() {
        let threads = Threads { rest: Duration::from_secs(60), ..Threads::new() };
        let (sender, who) = channel();
        say_who(&threads, &sender);
        wait_for_rest(&threads, 1);
        say_who(&threads, &sender);
        assert_eq!(who.recv(), who.recv());
    }

    #[test]
    fn no_work_waits_for_other_work() {
        let threads = Threads { rest: Duration::from_secs(60), ..Threads::new() };
        threads.run(|| {}).expect("a thread");
        wait_for_rest(&threads, 1);
        let together = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let together = Arc::clone(&together);
            let work = move || {
                together.wait();
            };
            threads.run(work).expect("a thread");
        }
        together.wait();
    }

    #[test]
    fn thread_without_work_ends() {
        let threads = Threads { rest: Duration::from_millis(10), ..Threads::new() };
        let (sender, who) = channel();
        say_who(&threads, &sender);
        let first = who.recv().expect("a thread");
        while Arc::strong_count(&threads.shared) > 1 {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(threads.shared.lock().resting, 0);
        say_who(&threads, &sender);
        assert_ne!(who.recv(), Ok(first));
    }

    /// A thread may just be about to end when it gets work.
    #[test]
    fn no_work_is_lost() {
        let threads = Threads { rest: Duration::from_micros(50), ..Threads::new() };
        let (sender, who) = channel();
        for round in 0..5000 {
            say_who(&threads, &sender);
            who.recv_timeout(Duration::from_secs(10)).expect("done");
            sleep(Duration::from_micros(round % 100));
        }
    }
}

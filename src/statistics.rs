//! Counts the work of the service, for its dump.

use crate::histogram::Histogram;
use dmabufio_core::error::Error;
use dmabufio_core::method::Method;
use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::receipt::Receipt;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The number of remembered failures.
const REMEMBERED: usize = 16;

/// The methods of a transfer, and none for one that moves nothing.
const METHODS: usize = Method::ALL.len() + 1;

/// Totals and the last failures.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<Totals>);

/// The numbers of [`Statistics`]. Counts of bytes are named after [`Receipt`].
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    /// The start of the counting.
    pub since: Instant,
    pub transfers: u64,
    pub direct: u64,
    pub bounced: u64,
    pub buffered: u64,
    pub errors: u64,
    /// The last one comes last.
    pub last_errors: VecDeque<Failure>,
    /// For each priority in [`Priority::ALL`], each method. No array: each binder thread
    /// that had it on its stack would keep 100 KiB.
    times: Vec<Times>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            transfers: 0,
            direct: 0,
            bounced: 0,
            buffered: 0,
            errors: 0,
            last_errors: VecDeque::new(),
            times: vec![Times::default(); Priority::ALL.len() * METHODS],
        }
    }
}

/// The times of transfers that are alike, named after [`Receipt`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Times {
    pub queue: Histogram,
    pub io: Histogram,
    /// Only of those that were made durable.
    pub sync: Histogram,
}

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub at: Instant,
    pub call: &'static str,
    pub uid: u32,
    pub message: String,
}

impl Totals {
    /// The times by priority and method; `None` for transfers that moved nothing.
    pub fn latencies(&self) -> impl Iterator<Item = (Priority, Option<Method>, &Times)> {
        let of_priority = |(priority, times)| {
            methods().zip(times).map(move |(method, times)| (priority, method, times))
        };
        Priority::ALL.into_iter().zip(self.times.chunks(METHODS)).flat_map(of_priority)
    }

    fn times(&mut self, priority: Priority, method: Option<Method>) -> Option<&mut Times> {
        let priority = Priority::ALL.iter().position(|one| *one == priority)?;
        let method = methods().position(|one| one == method)?;
        self.times.get_mut(priority * METHODS + method)
    }
}

impl Statistics {
    pub fn count_transfer(&self, priority: Priority, receipt: &Receipt) {
        let mut totals = self.lock();
        totals.transfers += 1;
        totals.direct += receipt.direct;
        totals.bounced += receipt.bounced;
        totals.buffered += receipt.buffered;
        if let Some(times) = totals.times(priority, receipt.method) {
            times.queue.add(receipt.queue);
            times.io.add(receipt.io);
            if !receipt.sync.is_zero() {
                times.sync.add(receipt.sync);
            }
        }
    }

    pub fn count_error(&self, call: &'static str, uid: u32, error: &Error) {
        let failure = Failure { at: Instant::now(), call, uid, message: error.to_string() };
        let mut totals = self.lock();
        totals.errors += 1;
        if totals.last_errors.len() == REMEMBERED {
            totals.last_errors.pop_front();
        }
        totals.last_errors.push_back(failure);
    }

    /// The current numbers.
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// The current numbers, and counts from zero from now on.
    pub fn take(&self) -> Totals {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Counters have no invariant that a panic could break.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn methods() -> impl Iterator<Item = Option<Method>> {
    Method::ALL.into_iter().map(Some).chain([None])
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmabufio_core::error::ErrorKind;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn totals_are_not_on_the_stack() {
        let on_a_small_stack = || {
            let statistics = Statistics::default();
            statistics.totals();
            statistics.take()
        };
        let thread = thread::Builder::new().stack_size(48 << 10).spawn(on_a_small_stack);
        thread.expect("a thread").join().expect("no panic");
    }

    #[test]
    fn times_count_by_priority_and_method_and_syncs_only_where_there_were_any() {
        let statistics = Statistics::default();
        let ms = Duration::from_millis;
        let direct = Receipt {
            direct: 10,
            method: Some(Method::RwFileDirect),
            queue: ms(1),
            io: ms(2),
            ..Receipt::default()
        };
        let saved = Receipt { sync: ms(3), ..direct };
        statistics.count_transfer(Priority::Interactive, &direct);
        statistics.count_transfer(Priority::Background, &saved);
        statistics.count_transfer(Priority::Background, &direct);
        statistics.count_transfer(Priority::Normal, &Receipt::default());
        let counts: Vec<_> = statistics
            .totals()
            .latencies()
            .filter(|(_, _, times)| times.queue.count() > 0)
            .map(|(priority, method, times)| {
                let max = [&times.queue, &times.io, &times.sync].map(Histogram::max);
                (priority, method, times.io.count(), times.sync.count(), max)
            })
            .collect();
        let expected = vec![
            (Priority::Interactive, direct.method, 1, 0, [ms(1), ms(2), ms(0)]),
            (Priority::Normal, None, 1, 0, [ms(0); 3]),
            (Priority::Background, direct.method, 2, 1, [ms(1), ms(2), ms(3)]),
        ];
        assert_eq!(counts, expected);
    }

    #[test]
    fn last_failures_are_few_and_taken_with_the_totals() {
        let statistics = Statistics::default();
        for i in 0..REMEMBERED as u32 + 5 {
            let error = Error::new(ErrorKind::Busy, format!("failure {i}"));
            statistics.count_error("load", i, &error);
        }
        let totals = statistics.take();
        assert_eq!((totals.errors, totals.last_errors.len()), (REMEMBERED as u64 + 5, REMEMBERED));
        assert_eq!(totals.last_errors[0].message, "failure 5");
        let after = statistics.totals();
        assert_eq!((after.errors, after.last_errors.len()), (0, 0));
        assert!(after.since > totals.since);
    }
}
